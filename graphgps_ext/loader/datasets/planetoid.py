"""Cora, CiteSeer and PubMed from their pickles, as PyG reads them but without running what they may name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.io import read_txt_array
from torch_geometric.io.planetoid import edge_index_from_dict
from torch_geometric.utils import index_to_mask

from graphgps_ext.loader.datasets.check import MASKS
from graphgps_ext.loader.datasets.unpickle import read_pickle

NUM_VAL = 500


def read_planetoid(folder: Path, name: str, splits: Sequence[str] = ()) -> Data:
    """The graph of `<folder>/ind.<name>.{tx,allx,y,ty,ally,graph,test.index}`.

    Args:
        folder: where the raw files lie.
        name: 'cora', 'citeseer' or 'pubmed'.
        splits: names of S `.npz` files with masks; none: the public split.

    Returns:
        Data with x [N, F] float32, y [N] int64, edge_index [2, E] and the masks, [N] or [N, S] bool.

    Raises:
        Exception: almost any, if a file is damaged.
    """
    stem = f'ind.{name}.'
    tx, allx, y, ty, ally = (_tensor(folder / f'{stem}{part}') for part in ('tx', 'allx', 'y', 'ty', 'ally'))
    test_ids = read_txt_array(str(folder / f'{stem}test.index'), dtype=torch.long)
    first, last = int(test_ids.min()), int(test_ids.max())
    num_nodes = len(allx) + last - first + 1
    # A damaged file may ask for any amount of memory.
    if first != len(allx) or last - first >= 2 * len(test_ids):
        raise ValueError(f'test nodes come after the {len(allx)} others, got {first}..{last}')
    in_order = test_ids.sort()[0]

    def with_test_nodes(known: Tensor, test: Tensor) -> Tensor:
        """Rows of all nodes; some test nodes of CiteSeer are isolated and have a row of zeros."""
        rows = test.new_zeros(last - first + 1, test.shape[1])
        rows[in_order - first] = test
        return torch.cat([known, rows])

    x = with_test_nodes(allx, tx)
    x[test_ids] = x[in_order]
    classes = with_test_nodes(ally, ty).max(dim=1)[1]
    classes[test_ids] = classes[in_order]
    graph = read_pickle(folder / f'{stem}graph')
    data = Data(x=x, edge_index=edge_index_from_dict(graph, num_nodes), y=classes)
    if splits:
        for mask in MASKS:
            columns = [np.load(folder / file)[mask] for file in splits]
            data[mask] = torch.from_numpy(np.stack(columns, axis=1))
    else:
        train, val = torch.arange(len(y)), torch.arange(len(y), len(y) + NUM_VAL)
        for mask, ids in zip(MASKS, (train, val, test_ids), strict=True):
            data[mask] = index_to_mask(ids, num_nodes)
    return data


def _tensor(path: Path) -> Tensor:
    return torch.from_numpy(read_pickle(path)).float()

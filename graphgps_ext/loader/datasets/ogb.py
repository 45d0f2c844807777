"""ogbn-arxiv, ogbn-proteins and ogbn-products, read from OGB's raw files.

OGB's own data set class (1.3.6) reloads a pickle, which torch ≥ 2.6 refuses, and asks questions on the
terminal; its reader of raw files does neither, so this builds the graph from that.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import index_to_mask, scatter

from graphgps_ext.errors import DataError
from graphgps_ext.loader.datasets.check import match_name
from graphgps_ext.loader.datasets.download import (
    absent_files,
    made_folder,
    missing_data_error,
    staging_folder,
)
from graphgps_ext.loader.datasets.source import Source
from graphgps_ext.loader.datasets.unpickle import node_ids

OGB_NAMES = ('ogbn-arxiv', 'ogbn-proteins', 'ogbn-products')


def load_ogb(name: str, root: str | Path) -> Source:
    """Reads one graph from `<root>/OGB/<name with _>/{raw,split}`, after downloading it if it is not there.

    Args:
        name: one of `OGB_NAMES`.
        root: `dataset.dir`.

    Returns:
        The graph with x [N, F], edge_index, y, and OGB's split as train_mask, val_mask, test_mask [N] bool.
        ogbn-arxiv stays directed; the other two come with both directions of each edge.
        ogbn-proteins: y [N, 112] of 0 and 1, edge_attr [E, 8], and as it has no node features x [N, 8], the
        mean of the features of a node's incident edges.

    Raises:
        ImportError: if the package ogb is not installed.
        ValueError: for an unknown name, or raw files that cannot be read.
        FileNotFoundError: if files are missing and cannot be downloaded.
    """
    name = match_name(name, OGB_NAMES, 'OGB')
    info = _info(name)
    parent = Path(root).expanduser() / 'OGB'
    folder = parent / name.replace('-', '_')
    split_folder = f'split/{info["split"]}'
    wanted = [f'raw/{part}.csv.gz' for part in ('edge', 'num-node-list', 'num-edge-list', 'node-label')]
    wanted += [f'{split_folder}/{part}.csv.gz' for part in ('train', 'valid', 'test')]
    wanted += [f'raw/{kind}-feat.csv.gz' for kind in ('node', 'edge') if info[f'has_{kind}_attr'] == 'True']
    absent = absent_files(folder, wanted)
    if absent and folder.exists():
        reason = 'The folder is there but incomplete; without it, it would be downloaded'
        raise missing_data_error(name, folder, absent, reason)
    if absent:
        try:
            _download(info['url'], info['download_name'], folder)
        except Exception as error:
            raise missing_data_error(name, folder, absent, f'Downloading failed ({error})') from error
    try:
        data = _read(folder, split_folder, both_directions=info['add_inverse_edge'] == 'True')
        return Source(data, tuple(folder / name for name in wanted))
    except MemoryError:
        raise
    except Exception as error:  # pandas, OGB and torch raise about anything on a damaged file
        raise DataError(
            f'cannot read the files in {folder} ({type(error).__name__}: {error}); they are incomplete or of '
            f'another data set: remove the folder to have it downloaded again, or correct dataset.dir'
        ) from error


def _read(folder: Path, split_folder: str, *, both_directions: bool) -> Data:
    from ogb.io.read_graph_raw import read_csv_graph_raw

    graph = read_csv_graph_raw(str(folder / 'raw'), add_inverse_edge=both_directions)[0]
    num_nodes = int(graph['num_nodes'])
    data = Data(
        edge_index=torch.from_numpy(graph['edge_index']),
        y=_column_table(folder / 'raw' / 'node-label.csv.gz'),
        num_nodes=num_nodes,
    )
    if graph['edge_feat'] is not None:
        data.edge_attr = torch.from_numpy(graph['edge_feat'])
    if graph['node_feat'] is not None:
        data.x = torch.from_numpy(graph['node_feat'])
    else:
        data.x = scatter(data.edge_attr, data.edge_index[1], dim_size=num_nodes, reduce='mean')
    del data.num_nodes  # x says it from here on
    for mask, part in (('train_mask', 'train'), ('val_mask', 'valid'), ('test_mask', 'test')):
        ids = _column_table(folder / split_folder / f'{part}.csv.gz')[:, 0]
        data[mask] = index_to_mask(node_ids(ids, num_nodes), num_nodes)
    return data


def _column_table(path: Path) -> Tensor:
    return torch.from_numpy(pd.read_csv(path, compression='gzip', header=None).to_numpy(copy=True))


def _info(name: str) -> dict[str, str]:
    """OGB's own facts on a data set: its `master.csv` has a column for each."""
    ogb_folder = Path(_import_ogb().__file__ or '').parent
    master = pd.read_csv(ogb_folder / 'nodeproppred' / 'master.csv', index_col=0, keep_default_na=False)
    return {str(key): str(value) for key, value in master[name].items()}


def _import_ogb() -> ModuleType:
    """Imports ogb without the thread that asks the package index for a newer version.

    OGB tolerates that its dependency `outdated` is absent, which a None in `sys.modules` pretends meanwhile.
    """
    hide = 'ogb' not in sys.modules and 'outdated' not in sys.modules
    if hide:
        sys.modules['outdated'] = None  # type: ignore[assignment]
    try:
        import ogb
    except ImportError as error:
        raise ImportError(f'dataset.format OGB needs the package ogb ({error})') from error
    finally:
        if hide:
            del sys.modules['outdated']
    return ogb


def _download(url: str, unpacked_name: str, folder: Path) -> None:
    from ogb.utils.url import download_url, extract_zip

    with made_folder(folder.parent), staging_folder(inside=folder.parent) as staged:
        extract_zip(download_url(url, str(staged)), str(staged))
        try:
            (staged / unpacked_name).replace(folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise

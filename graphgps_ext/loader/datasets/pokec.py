"""Pokec, the social network with the splits of the LINKX benchmark (Lim et al., NeurIPS 2021)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data

from graphgps_ext.errors import DataError
from graphgps_ext.loader.datasets.download import absent_files, missing_data_error
from graphgps_ext.loader.datasets.source import Source
from graphgps_ext.loader.datasets.unpickle import read_object_array, split_masks

FILES = ('pokec.mat', 'pokec-splits.npy')


def load_pokec(root: str | Path) -> Source:
    """Reads `<root>/Pokec/raw/{pokec.mat,pokec-splits.npy}`, the files of CUAI/Non-Homophily-Large-Scale.

    Args:
        root: `dataset.dir`.

    Returns:
        The graph with x [N, 65], edge_index (directed), y [N] (-1 = no label), and the benchmark's S fixed
        splits as train_mask, val_mask, test_mask [N, S] bool.

    Raises:
        FileNotFoundError: if a file is missing; they lie on a file host and are not downloaded.
        ValueError: if a file is not what its name says.
    """
    from scipy.io import loadmat  # slow to import, and needed here alone

    folder = Path(root).expanduser() / 'Pokec' / 'raw'
    absent = absent_files(folder, FILES)
    if absent:
        reason = (
            'They must be fetched by hand: github.com/CUAI/Non-Homophily-Large-Scale links to pokec.mat '
            'and holds data/splits/pokec-splits.npy'
        )
        raise missing_data_error('Pokec', folder, absent, reason)
    path = folder / 'pokec.mat'
    try:
        arrays = loadmat(path, variable_names=('edge_index', 'node_feat', 'label'))
        data = Data(
            x=torch.from_numpy(arrays['node_feat']),
            edge_index=torch.from_numpy(arrays['edge_index'].astype(np.int64)),
            y=torch.from_numpy(arrays['label'].reshape(-1).astype(np.int64)),
        )
        path = folder / 'pokec-splits.npy'
        data.update(split_masks(read_object_array(path), data.y.numel()))
    except MemoryError:
        raise
    except Exception as error:  # scipy and pickle raise about anything on a damaged file
        raise DataError(
            f'cannot read {path} ({type(error).__name__}: {error}); fetch the file again, '
            f'or correct dataset.dir'
        ) from error
    return Source(data, tuple(folder / name for name in FILES))

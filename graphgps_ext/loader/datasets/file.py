"""A user's own graph from one `.npz` or `.pt` file."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from graphgps_ext.errors import ConfigError, DataError, MissingFileError
from graphgps_ext.loader.datasets.check import MASKS, checked

REQUIRED = ('edge_index', 'x', 'y')
KNOWN = (*REQUIRED, *MASKS, 'edge_attr')
HOW_TO_SAVE = (
    'write it with numpy.savez(path, edge_index=..., x=..., y=...) as .npz, '
    'or with torch.save({"edge_index": ..., "x": ..., "y": ...}, path) as .pt'
)


def load_file(path: str | Path) -> Data:
    """Reads a graph from arrays in an `.npz` file or tensors in a dict (or PyG Data) in a `.pt` file.

    | key | shape | meaning |
    |---|---|---|
    | `edge_index` | [2, E] integer | row 0 source, row 1 target, node ids from 0 |
    | `x` | [N, F] | node features, finite |
    | `y` | [N] integer | class from 0 without gaps, -1 = no label |
    | | or [N, tasks] | 0, 1 or NaN = no label, for several binary tasks |
    | `train_mask`, `val_mask`, `test_mask` | [N] or [N, S], bool or 0/1 | optional: S fixed splits |
    | `edge_attr` | [E, D] | optional edge features, finite |

    Nothing in the file is executed: object arrays and pickled classes other than PyG's Data are refused.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or holds anything else than the table says.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingFileError(
            f'dataset.format file reads the graph from dataset.path, but there is no file {str(path)!r}'
        )
    readers = {'.npz': _read_npz, '.pt': _read_pt}
    if path.suffix not in readers:
        raise ConfigError(f'dataset.path must end in .npz or .pt, got {path.name}; {HOW_TO_SAVE}')
    tensors = readers[path.suffix](path)
    source = f'file {path}'
    _check_keys(tensors, source)
    data = checked(Data(**tensors), source)
    _check_classes(data.y, source)
    return data


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with path.open('rb') as file, np.load(file, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(
            f'cannot read {path}: it is truncated, no .npz file, or holds arrays of Python objects '
            f'({type(error).__name__}: {error}); {HOW_TO_SAVE}'
        ) from error


def _read_pt(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_parts_of_data()):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise DataError(
            f'cannot read {path}: it is truncated, or holds more than tensors '
            f'({type(error).__name__}: {str(error).splitlines()[0]}); {HOW_TO_SAVE}'
        ) from error
    if isinstance(content, Data):
        content = content.to_dict()
    if not isinstance(content, dict):
        raise DataError(
            f'{path} needs a dict of tensors or a PyG Data, got {type(content).__name__}; {HOW_TO_SAVE}'
        )
    return content


def _parts_of_data() -> list[Any]:
    """What a stored PyG Data consists of besides tensors, less what may be loaded anyway.

    `safe_globals` takes away at its end what it was given, so it must not get what others have added.
    """
    return [
        part
        for part in (Data, DataEdgeAttr, DataTensorAttr, GlobalStorage)
        if part not in torch.serialization.get_safe_globals()
    ]


def _check_keys(tensors: dict[str, Any], source: str) -> None:
    missing = [key for key in REQUIRED if key not in tensors]
    unknown = [str(key) for key in tensors if key not in KNOWN]
    masks = [key for key in MASKS if key in tensors]
    if missing or unknown:
        raise DataError(
            f'{source} needs the keys {", ".join(REQUIRED)} and may have {", ".join(KNOWN[3:])}; '
            f'missing: {", ".join(missing) or "none"}, unknown: {", ".join(unknown) or "none"}'
        )
    if len(masks) not in (0, 3):
        raise DataError(f'{source} needs all of {", ".join(MASKS)} or none, got only {", ".join(masks)}')
    for key, value in tensors.items():
        if not isinstance(value, Tensor):
            raise DataError(f'{source}: {key} needs a tensor, got {type(value).__name__}')


def _check_classes(y: Tensor, source: str) -> None:
    if y.dim() == 2:
        return
    absent = (torch.bincount(y[y >= 0]) == 0).nonzero().flatten().tolist()
    if absent:
        raise DataError(
            f'{source}: y needs classes from 0 without gaps, but of 0..{int(y.max())} no node has '
            f'{", ".join(map(str, absent[:5]))}{", ..." if len(absent) > 5 else ""}; '
            f'renumber them with numpy.unique(y, return_inverse=True)'
        )

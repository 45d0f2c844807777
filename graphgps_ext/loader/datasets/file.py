"""A user's own graph from one `.npz` or `.pt` file."""

from __future__ import annotations

import math
import re
import stat
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from graphgps_ext.errors import ConfigError, DataError, MissingFileError, UserError
from graphgps_ext.loader.datasets.check import MASKS, checked

REQUIRED = ('edge_index', 'x', 'y')
KNOWN = (*REQUIRED, *MASKS, 'edge_attr')
HOW_TO_SAVE = (
    'write it with numpy.savez(path, edge_index=..., x=..., y=...) as .npz, '
    'or with torch.save({"edge_index": ..., "x": ..., "y": ...}, path) as .pt'
)
# What a file may unpack to: anything up to so many bytes, and beyond that so many times its own size.
_SMALL, _TIMES = 1 << 28, 100


def load_file(path: str | Path, *, multilabel: bool = False) -> Data:
    """Reads a graph from arrays in an `.npz` file or tensors in a dict (or PyG Data) in a `.pt` file.

    | key | shape | meaning |
    |---|---|---|
    | `edge_index` | [2, E] integer | row 0 source, row 1 target, node ids from 0 |
    | `x` | [N, F] | node features, finite |
    | `y` | [N] whole numbers | class from 0 without gaps, -1 or NaN = no label |
    | | or [N, tasks] | 0, 1 or NaN = no label, for several binary tasks |
    | `train_mask`, `val_mask`, `test_mask` | [N] or [N, S], bool or 0/1 | optional: S fixed splits |
    | `edge_attr` | [E, D] | optional edge features, finite |

    Numbers may have any real dtype and byte order; features become float32. Nothing in the file is executed:
    object arrays and pickled classes other than PyG's Data are refused.

    Args:
        path: `dataset.path`.
        multilabel: y [N, tasks] is meant, even if each node has one label, as in the one-hot form of classes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or holds anything else than the table says.
    """
    path = Path(path).expanduser()
    readers = {'.npz': _read_npz, '.pt': _read_pt}
    limit = max(_SMALL, _TIMES * _size(path))
    if path.suffix not in readers:
        raise ConfigError(f'dataset.path must end in .npz or .pt, got {path.name}; {HOW_TO_SAVE}')
    with _readable(path):
        tensors = readers[path.suffix](path, limit)
    source = f'file {path}'
    data = checked(Data(**tensors), source, gaps=False)
    if not multilabel:
        _refuse_one_hot(data.y, source)
    return data


def _size(path: Path) -> int:
    """Bytes of a regular file: nothing else is opened, as a pipe would be waited for."""
    try:
        found = path.stat()
        reason = 'it is a folder' if stat.S_ISDIR(found.st_mode) else 'it is no regular file'
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        found, reason = None, getattr(error, 'strerror', None) or str(error)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise MissingFileError(
            f'dataset.format file reads the graph from dataset.path, but there is no file {str(path)!r} '
            f'({reason})'
        )
    return found.st_size


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Says what is wrong with the file; zipfile, NumPy and torch raise about anything on a damaged one."""
    try:
        yield
    except UserError as error:
        raise DataError(f'file {path}: {error}') from error
    except Exception as error:
        # Of torch's message one sentence: others advise to load what is refused.
        text = re.split(r'\n|\. ', str(error).rpartition('WeightsUnpickler error:')[2].strip())[0]
        if named := re.search(r'GLOBAL (\S+)', str(error)):
            reason = f'it holds more than tensors in a dict or a PyG Data, namely {named[1]}'
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        elif not _size(path):
            reason = 'it is empty'
        else:
            reason = f'it is truncated, damaged or no {path.suffix} file ({type(error).__name__}: {text})'
        raise DataError(f'cannot read {path}: {reason}; {HOW_TO_SAVE}') from error


def _read_npz(path: Path, limit: int) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        keys = [member.filename.removesuffix('.npy') for member in members]
        _check_keys(keys)
        _check_size(sum(member.file_size for member in members), limit)
        return {key: _read_array(archive, member, key) for key, member in zip(keys, members, strict=True)}


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, key: str) -> Tensor:
    """An array whose header fits the bytes that follow it: NumPy believes the header, and allocates."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        one, two = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        shape, _, dtype = (one if version == (1, 0) else two)(stream)
        if dtype.kind not in 'biuf':
            raise DataError(f'{key} needs real numbers, got an array of {_name(dtype)}; {HOW_TO_SAVE}')
        if min(shape, default=0) < 0 or stream.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise DataError(
                f'{key} is said to be {dtype} {list(shape)}, but has {member.file_size} bytes, header '
                f'included: it is damaged; {HOW_TO_SAVE}'
            )
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    return torch.from_numpy(_native(array))


def _name(dtype: np.dtype[Any]) -> str:
    return 'Python objects' if dtype.hasobject else 'records' if dtype.names else str(dtype)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """In the byte order of the machine, and a dtype that torch has."""
    wide = array.dtype.kind == 'f' and array.dtype.itemsize > 8  # long double
    return np.asarray(array, dtype=np.float64 if wide else array.dtype.newbyteorder('='))


def _read_pt(path: Path, limit: int) -> dict[str, Tensor]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_size(sum(member.file_size for member in archive.infolist()), limit)
            if damaged := archive.testzip():  # torch reads no checksums
                raise zipfile.BadZipFile(f'the checksum of {damaged} does not fit')
    with torch.serialization.safe_globals(_parts_of_data()), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch's, on archives of another kind, which it then refuses
        content = torch.load(path, map_location='cpu', weights_only=True)
    if isinstance(content, Data):
        content = content.to_dict()
    if not isinstance(content, dict):
        raise DataError(
            f'it needs a dict of tensors or a PyG Data, got {type(content).__name__}; {HOW_TO_SAVE}'
        )
    _check_keys([key if isinstance(key, str) else f'one of {type(key).__name__}' for key in content])
    for key, value in content.items():
        if not isinstance(value, Tensor) or value.is_nested:
            kind = 'a nested one' if isinstance(value, Tensor) else type(value).__name__
            raise DataError(f'{key} needs a tensor, got {kind}; {HOW_TO_SAVE}')
    # Views and sparse tensors may stand for more than is stored.
    _check_size(sum(tensor.numel() * tensor.element_size() for tensor in content.values()), limit)
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


def _check_keys(keys: Sequence[str]) -> None:
    missing = [key for key in REQUIRED if key not in keys]
    unknown = [ascii(key)[1:-1] for key in keys if key not in KNOWN]
    masks = [key for key in MASKS if key in keys]
    if missing or unknown:
        raise DataError(
            f'it needs the keys {", ".join(REQUIRED)} and may have {", ".join(KNOWN[3:])}; '
            f'missing: {", ".join(missing) or "none"}, unknown: {", ".join(unknown[:10]) or "none"}'
        )
    if len(masks) not in (0, 3):
        raise DataError(f'it needs all of {", ".join(MASKS)} or none, got only {", ".join(masks)}')
    if len(set(keys)) < len(keys):
        raise DataError(f'each key needs to be there once, got {", ".join(keys)}; {HOW_TO_SAVE}')


def _check_size(wanted: int, limit: int) -> None:
    if wanted > limit:
        raise DataError(
            f'its arrays take {wanted / 1e6:,.0f} MB, more than {_TIMES} times the size of the file: it is '
            f'damaged, or so well compressed that it has to be saved without (numpy.savez, or dense tensors '
            f'in torch.save)'
        )


def _refuse_one_hot(y: Tensor, source: str) -> None:
    """Classes in one-hot form would be learned as that many binary tasks."""
    if y.dim() == 1:
        return
    labels = (y == 1).sum(dim=1)
    known = ~y.isnan().all(dim=1)  # a row of NaN is a node without label in either form
    partly_known = y.isnan().any(dim=1) & known
    if not partly_known.any() and (labels <= 1).all() and 2 * int((labels == 1).sum()) >= int(known.sum()):
        raise DataError(
            f'{source}: y looks like one-hot labels of {y.shape[1]} classes: store y.argmax(1), and -1 for a '
            f'node without label; if it is {y.shape[1]} binary tasks, set '
            f'dataset.task_type classification_multilabel'
        )

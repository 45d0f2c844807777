"""Pickles of arrays, read without running what else a pickle may name."""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class _Csr:
    """Stands for a scipy.sparse.csr_matrix: takes the parts that are stored, and makes nothing of them."""


def _latin_1(text: str, encoding: str) -> bytes:
    """How pickles of Python 3 write bytes for Python 2."""
    return text.encode('latin1')


def _torch_storage(raw: bytes) -> Any:
    return torch.load(io.BytesIO(raw), weights_only=True)


_EMPTIEST = 10_000  # entries of a matrix for each that is not zero
_CSR = ('scipy.sparse.csr.csr_matrix', 'scipy.sparse._csr.csr_matrix')
_CLASSES: dict[str, type] = {
    'numpy.ndarray': np.ndarray,
    'numpy.dtype': np.dtype,
    'collections.OrderedDict': OrderedDict,
    'collections.defaultdict': defaultdict,
    'builtins.list': list,
    '__builtin__.list': list,  # Python 2
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    'numpy.core.multiarray._reconstruct': np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    'numpy._core.multiarray._reconstruct': np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    'numpy.core.numeric._frombuffer': np._core.numeric._frombuffer,  # type: ignore[attr-defined]
    'numpy._core.numeric._frombuffer': np._core.numeric._frombuffer,  # type: ignore[attr-defined]
    '_codecs.encode': _latin_1,
    'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
    'torch.storage._load_from_bytes': _torch_storage,
}


class _ArraysOnly(pickle.Unpickler):
    """Makes arrays of NumPy, torch and scipy (CSR) in plain containers, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        known = f'{module}.{name}'
        # A pickle may set attributes of what it names, so that must not be what others use.
        if known in _FUNCTIONS:
            return partial(_FUNCTIONS[known])
        if known in _CSR:
            return type('csr_matrix', (_Csr,), {})
        if known not in _CLASSES:
            raise pickle.UnpicklingError(f'{known} has no place in a file of arrays')
        return _CLASSES[known]


def read_pickle(path: Path) -> Any:
    """What a pickle of Python 2 or 3 holds: an array, a dense one if it was sparse, or containers.

    Raises:
        pickle.UnpicklingError: if it names anything else; it is not run.
    """
    with path.open('rb') as file:
        content = _ArraysOnly(file, encoding='latin1').load()
    return _dense(content) if isinstance(content, _Csr) else content


def read_object_array(path: Path) -> list[Any]:
    """The entries of a `.npy` file of Python objects, which is a pickle behind a header.

    Raises:
        pickle.UnpicklingError: if it names anything but arrays; it is not run.
    """
    with path.open('rb') as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return list(_ArraysOnly(file).load())


def checked_csr(data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], shape: Any) -> Any:
    """A scipy.sparse.csr_matrix.

    Raises:
        ValueError: if an index is out of range, where scipy would write, or the matrix is emptier than any
            graph's and may take far more memory than the file.
    """
    from scipy.sparse import csr_matrix  # slow to import

    if math.prod(int(size) for size in shape) > _EMPTIEST * max(len(data), 1):
        raise ValueError(f'a matrix {list(shape)} needs more than {len(data)} entries')
    matrix = csr_matrix((data, indices, indptr), tuple(int(size) for size in shape))
    matrix.check_format(full_check=True)
    return matrix


def _dense(parts: _Csr) -> NDArray[Any]:
    state = vars(parts)
    return checked_csr(state['data'], state['indices'], state['indptr'], state['_shape']).toarray()


def split_masks(splits: list[Any], num_nodes: int) -> dict[str, Tensor]:
    """Masks [N, S] bool from S dicts with lists of node ids, those of the LINKX benchmark.

    Raises:
        IndexError: if there is no such node.
    """
    parts = {'train_mask': 'train', 'val_mask': 'valid', 'test_mask': 'test'}
    masks = {name: torch.zeros(num_nodes, len(splits), dtype=torch.bool) for name in parts}
    for name, part in parts.items():
        for column, split in enumerate(splits):
            masks[name][node_ids(split[part], num_nodes), column] = True
    return masks


def node_ids(ids: Any, num_nodes: int) -> Tensor:
    """[n] int64.

    Raises:
        IndexError: if one is below 0, which would count from the end, or above N - 1.
    """
    ids = torch.as_tensor(ids).long()
    if ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < num_nodes):
        raise IndexError(f'node ids need to be in 0..{num_nodes - 1}, got {int(ids.min())}..{int(ids.max())}')
    return ids

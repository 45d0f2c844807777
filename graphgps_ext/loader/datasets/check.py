"""Checks on the name that was asked for and the graph that came in, which gets one form for all sources."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphgps_ext.errors import ConfigError, DataError

MASKS = ('train_mask', 'val_mask', 'test_mask')
_INTEGERS = (
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
)  # fmt: skip
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_REAL = (torch.bool, *_INTEGERS, *_FLOATS)


def match_name(name: str, known: Iterable[str], source: str) -> str:
    """The known name that equals `name` up to case and `_` for `-`.

    Raises:
        ValueError: if there is none; suggests the nearest one and lists all.
    """
    by_key = {candidate.lower(): candidate for candidate in known}
    key = name.lower().replace('_', '-')
    if key in by_key:
        return by_key[key]
    nearest = difflib.get_close_matches(key, by_key, n=1)
    hint = f'; did you mean {by_key[nearest[0]]}?' if nearest else ''
    raise ConfigError(
        f'dataset.name {name!r} is no data set of {source}{hint} (known: {", ".join(by_key.values())})'
    )


def checked(data: Data, source: str, *, gaps: bool = True) -> Data:
    """The same graph with the dtypes that the package works with.

    Args:
        data: a graph with x, y and edge_index.
        source: what to call it in messages.
        gaps: whether there may be classes that no node has.

    Returns:
        Data with x [N, F] float32 dense; y [N] int64 with classes from 0 and -1 = no label, or [N, tasks]
        float32 with NaN = no label; edge_index [2, E] int64, contiguous; masks [N] or [N, S] bool; edge_attr
        [E, D] float32. Others stay as they are.

    Raises:
        ValueError: for features that are not finite, edges to nodes that do not exist, labels below -1, less
            than two classes, masks or edge features of another shape, and dtypes that are no real numbers;
            it names all of them.
    """
    problems: list[str] = []
    if data.x.dim() != 2 or 0 in data.x.shape:
        raise DataError(f'{source}: x needs shape [N, F] and something in it, got {list(data.x.shape)}')
    num_nodes = data.x.shape[0]
    num_edges = data.edge_index.shape[-1] if data.edge_index.dim() else 0
    with _noted(problems):
        data.x = _features(data.x, 'x', f'[{num_nodes}, F]', num_nodes)
    with _noted(problems):
        data.edge_index = _edges(data.edge_index, num_nodes)
    with _noted(problems):
        data.y = _labels(data.y, num_nodes, gaps)
    with _noted(problems):
        masks = _masks({name: data[name] for name in MASKS if name in data}, num_nodes)
        for name, mask in masks.items():
            data[name] = mask
    if 'edge_attr' in data:
        with _noted(problems):
            shape = f'[{num_edges}, D] (edge_index has {num_edges} columns)'
            data.edge_attr = _features(data.edge_attr, 'edge_attr', shape, num_edges)
    if problems:
        raise DataError(f'{source}: {"; ".join(problems)}')
    return data


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        problems.append(str(error))


def _plain(values: Tensor, name: str, dtypes: tuple[torch.dtype, ...], kind: str) -> Tensor:
    """The values without what torch may hang on a tensor, if they are numbers of this kind."""
    if values.is_meta or values.dtype not in dtypes:
        form = 'without values' if values.is_meta else values.dtype
        raise DataError(f'{name} needs {kind}, got {list(values.shape)} {form}')
    return values.detach().resolve_neg()


def _dense(values: Tensor, name: str) -> Tensor:
    if values.layout != torch.strided:
        raise DataError(f'{name} needs a dense array, got a sparse one ({values.layout}): store it dense')
    return values


def _features(values: Tensor, name: str, shape: str, num_rows: int) -> Tensor:
    values = _plain(values, name, _REAL, f'shape {shape} and real numbers')
    if values.dim() != 2 or values.shape[0] != num_rows or values.shape[1] == 0:
        raise DataError(f'{name} needs shape {shape}, got {list(values.shape)}')
    dense = values.to_dense() if values.layout != torch.strided else values
    single = dense.float().contiguous()
    # The two bounds take no memory, and are NaN if a value is.
    if single.numel() and not torch.stack(single.aminmax()).isfinite().all():
        if dense.isfinite().all():
            raise DataError(f'{name} holds values above 3.4e38, the largest of float32: scale it')
        bad = int((~single.isfinite()).any(dim=1).sum())
        raise DataError(f'{name} holds NaN or infinite values in {bad} of {len(single)} rows')
    return single


def _edges(edge_index: Tensor, num_nodes: int) -> Tensor:
    edge_index = _dense(
        _plain(edge_index, 'edge_index', _INTEGERS, 'shape [2, E] and integers'), 'edge_index'
    )
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise DataError(
            f'edge_index needs shape [2, E] and integers, got {list(edge_index.shape)} {edge_index.dtype}'
        )
    if edge_index.numel():
        low, high = _bounds(edge_index)
        if low < 0 or high >= num_nodes:
            raise DataError(
                f'edge_index needs node ids in 0..{num_nodes - 1} (x has {num_nodes} rows), got {low}..{high}'
            )
    return edge_index.long().contiguous()


def _bounds(values: Tensor) -> tuple[int, int]:
    """Smallest and largest of them; by NumPy, as torch has no bounds of unsigned integers."""
    array = values.numpy()
    return int(array.min()), int(array.max())


def _labels(y: Tensor, num_nodes: int, gaps: bool) -> Tensor:
    shape = f'shape [{num_nodes}] or [{num_nodes}, tasks] (x has {num_nodes} rows)'
    y = _dense(_plain(y, 'y', _REAL, f'{shape} and whole numbers'), 'y')
    if y.dim() == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dim() not in (1, 2) or y.shape[0] != num_nodes or y.numel() == 0:
        raise DataError(f'y needs {shape}, got {list(y.shape)}')
    if y.dim() == 2:
        known = y[~y.isnan()] if y.is_floating_point() else y
        if not ((known == 0) | (known == 1)).all():
            raise DataError('y [N, tasks] needs 0, 1 or NaN (no label) everywhere')
        return y.float().contiguous()
    return _classes(y, gaps)


def _classes(y: Tensor, gaps: bool) -> Tensor:
    """[N] int64 from class ids in any real dtype; nothing is allocated by their size."""
    if y.is_floating_point():
        if y.isinf().any():
            raise DataError('y [N] needs whole numbers (class ids), got infinite values')
        y = y.double().nan_to_num(nan=-1.0)
        if not (y == y.round()).all():
            raise DataError('y [N] needs whole numbers (class ids), got fractions')
    low, high = _bounds(y)
    if low < -1:
        raise DataError(f'y needs classes from 0, or -1 for no label, got {low}')
    classes = np.unique(y.numpy())
    classes = classes[classes >= 0]
    if len(classes) < 2:
        raise DataError(f'y needs at least two classes, got {classes.astype(object).tolist()}')
    if high >= (len(y) if gaps else len(classes)):
        absent = np.setdiff1d(np.arange(min(high, len(classes) + 5)), classes)[:6].tolist()
        raise DataError(
            f'y needs classes from 0 without gaps, but of 0..{high} no node has '
            f'{", ".join(map(str, absent[:5]))}{", ..." if len(absent) > 5 else ""}; '
            f'renumber them with numpy.unique(y, return_inverse=True)'
        )
    return y.long().contiguous()


def _masks(masks: dict[str, Tensor], num_nodes: int) -> dict[str, Tensor]:
    shapes = {name: list(mask.shape) for name, mask in masks.items()}
    columns = {shape[1] for shape in shapes.values() if len(shape) == 2}
    if any(len(shape) not in (1, 2) or shape[0] != num_nodes for shape in shapes.values()):
        raise DataError(f'masks need shape [{num_nodes}] or [{num_nodes}, S], got {shapes}')
    if len(columns) > 1 or 0 in columns:
        raise DataError(f'masks need one number of columns, at least 1, got {shapes}')
    return {name: _mask(mask, name) for name, mask in masks.items()}


def _mask(mask: Tensor, name: str) -> Tensor:
    mask = _dense(_plain(mask, name, _REAL, 'bool or 0 and 1'), name)
    if not ((mask == 0) | (mask == 1)).all():
        raise DataError(f'{name} needs bool or 0 and 1, got other values (a list of node ids is no mask)')
    return mask.bool()

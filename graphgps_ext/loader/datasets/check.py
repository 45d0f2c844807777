"""Checks on the name that was asked for and the graph that came in, which gets one form for all sources."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphgps_ext.errors import ConfigError, DataError

MASKS = ('train_mask', 'val_mask', 'test_mask')


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


def checked(data: Data, source: str) -> Data:
    """The same graph with the dtypes that the package works with.

    Args:
        data: a graph with x, y and edge_index.
        source: what to call it in messages.

    Returns:
        Data with x [N, F] float32 dense; y [N] int64 with classes from 0 and -1 = no label, or [N, tasks]
        float32 with NaN = no label; edge_index [2, E] int64, contiguous; masks [N] or [N, S] bool; edge_attr
        [E, D] float32. Others stay as they are.

    Raises:
        ValueError: for features that are not finite, edges to nodes that do not exist, labels below -1, less
            than two classes, masks or edge features of another shape.
    """
    data.x = _features(data.x, 'x', '[N, F]', None, source)
    num_nodes = data.x.shape[0]
    data.edge_index = _edges(data.edge_index, num_nodes, source)
    data.y = _labels(data.y, num_nodes, source)
    shapes = {name: list(data[name].shape) for name in MASKS if name in data}
    if any(len(shape) not in (1, 2) or shape[0] != num_nodes for shape in shapes.values()):
        raise DataError(f'{source}: masks need shape [{num_nodes}] or [{num_nodes}, S], got {shapes}')
    for name in shapes:
        data[name] = data[name].bool()
    if 'edge_attr' in data:
        shape = f'[{data.num_edges}, D] (edge_index has {data.num_edges} columns)'
        data.edge_attr = _features(data.edge_attr, 'edge_attr', shape, data.num_edges, source)
    return data


def _features(values: Tensor, name: str, shape: str, num_rows: int | None, source: str) -> Tensor:
    dense = values.to_dense() if values.layout != torch.strided else values
    dense = dense.float().contiguous()
    if dense.dim() != 2 or num_rows not in (None, dense.shape[0]):
        raise DataError(f'{source}: {name} needs shape {shape}, got {list(dense.shape)}')
    # The two bounds take no memory, and are NaN if a value is.
    if dense.numel() and not torch.stack(dense.aminmax()).isfinite().all():
        bad = int((~dense.isfinite()).any(dim=1).sum())
        raise DataError(f'{source}: {name} holds NaN or infinite values in {bad} of {dense.shape[0]} rows')
    return dense


def _edges(edge_index: Tensor, num_nodes: int, source: str) -> Tensor:
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.is_floating_point():
        raise DataError(
            f'{source}: edge_index needs shape [2, E] and integers, '
            f'got {list(edge_index.shape)} {edge_index.dtype}'
        )
    if edge_index.numel() and not (0 <= int(edge_index.min()) and int(edge_index.max()) < num_nodes):
        raise DataError(
            f'{source}: edge_index needs node ids in 0..{num_nodes - 1} (x has {num_nodes} rows), '
            f'got {int(edge_index.min())}..{int(edge_index.max())}'
        )
    return edge_index.long().contiguous()


def _labels(y: Tensor, num_nodes: int, source: str) -> Tensor:
    if y.dim() == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dim() not in (1, 2) or y.shape[0] != num_nodes:
        raise DataError(
            f'{source}: y needs shape [{num_nodes}] or [{num_nodes}, tasks] (x has {num_nodes} rows), '
            f'got {list(y.shape)}'
        )
    if y.dim() == 2:
        y = y.float()
        known = y[~y.isnan()]
        if not ((known == 0) | (known == 1)).all():
            raise DataError(f'{source}: y [N, tasks] needs 0, 1 or NaN (no label) everywhere')
        return y.contiguous()
    if y.is_floating_point():
        whole = y.nan_to_num(nan=-1.0)
        if not (whole == whole.round()).all():
            raise DataError(f'{source}: y [N] needs whole numbers (class ids), got fractions')
        y = whole
    y = y.long().contiguous()
    if y.numel() and int(y.min()) < -1:
        raise DataError(f'{source}: y needs classes from 0, or -1 for no label, got {int(y.min())}')
    classes = y[y >= 0].unique()
    if classes.numel() < 2:
        raise DataError(f'{source}: y needs at least two classes, got {classes.tolist()}')
    return y

"""One form for the graphs of all sources, and the checks on what came in."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphgps_ext.errors import DataError

MASKS = ('train_mask', 'val_mask', 'test_mask')


def checked(data: Data, source: str) -> Data:
    """The same graph with the dtypes that the package works with.

    Args:
        data: a graph with x, y and edge_index.
        source: what to call it in messages.

    Returns:
        Data with x [N, F] float32 dense; y [N] int64 with classes from 0 and -1 = no label, or [N, tasks]
        float32 with NaN = no label; edge_index [2, E] int64, contiguous; masks bool. Others stay as they are.

    Raises:
        ValueError: for features that are not finite, edges to nodes that do not exist, labels below -1, less
            than two classes.
    """
    data.x = _features(data.x, source)
    num_nodes = data.x.shape[0]
    data.edge_index = _edges(data.edge_index, num_nodes, source)
    data.y = _labels(data.y, num_nodes, source)
    for name in MASKS:
        if name in data:
            data[name] = data[name].bool()
    return data


def _features(x: Tensor, source: str) -> Tensor:
    dense = x.to_dense() if x.layout != torch.strided else x
    dense = dense.float().contiguous()
    if dense.dim() != 2:
        raise DataError(f'{source}: x needs shape [N, F], got {list(dense.shape)}')
    if not dense.isfinite().all():
        bad = int((~dense.isfinite()).any(dim=1).sum())
        raise DataError(f'{source}: x holds NaN or infinite values in {bad} of {dense.shape[0]} nodes')
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

"""Edges as PyG's convolutions work fastest on them: a sparse matrix instead of a list."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_torch_csr_tensor


def adjacency(edge_index: Tensor, x: Tensor, num_targets: int | None = None) -> Tensor:
    """The edges as PyG's convolutions work fastest on them: the transposed adjacency [N, M], sparse in CSR.

    They then multiply by a matrix instead of gathering and scattering [E, d], with equal results: a GCN layer
    of width 64 on Tolokers (10⁶ edges) takes a seventh of the time on one CPU core.

    Args:
        edge_index: [2, E]. Sorted by target, then source, nothing is sorted again.
        x: [M, F].
        num_targets: N, of edges from rows of `x` to the first N of them, which have to come sorted by target;
            the sources of one may be in any order and repeat, since they are only summed. None = M.
    """
    source, target = edge_index
    is_sorted = num_targets is not None or bool((target * len(x) + source).diff().gt(0).all())
    size = (len(x) if num_targets is None else num_targets, len(x))
    return _transposed_csr(edge_index, x.new_ones(source.numel(), dtype=_dtype(x)), size, is_sorted)


def normalized_adjacency(edge_index: Tensor, x: Tensor) -> tuple[Tensor, None]:
    """GCN's adjacency with self-loops and symmetric normalisation, which is the same in all its layers.

    Made once here, it spares each layer of PyG's `GCNConv` that works on a sparse matrix making it anew: a
    training step of eight layers of width 64 takes a third less time on one CPU core.

    Args:
        edge_index: [2, E].
        x: [N, F].

    Returns:
        `edge_index`, as in :func:`adjacency` a sparse matrix, and `edge_weight` of PyG's
        `GCNConv(normalize=False)`.
    """
    edge_index, weight = gcn_norm(edge_index, num_nodes=len(x), dtype=_dtype(x))
    return _transposed_csr(edge_index, weight, (len(x), len(x)), is_coalesced=False), None


def _dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _transposed_csr(edge_index: Tensor, weight: Tensor, size: tuple[int, int], is_coalesced: bool) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse (CSR tensor support|invariant checks)')
        return to_torch_csr_tensor(edge_index.flip(0), weight, size=size, is_coalesced=is_coalesced)


def use_products(module: nn.Module) -> None:
    """Lets PyG's convolutions within a module multiply by :func:`product`."""
    for part in module.modules():
        if isinstance(part, MessagePassing) and part.fuse:
            part.message_and_aggregate = partial(_aggregate, part.aggr)


def _aggregate(reduce: str, adj_t: Tensor, *features: Any, **named: Any) -> Tensor:
    """What PyG calls with a matrix: the sum or mean of the rows of its one other argument."""
    (x,) = (*features, *named.values())
    total = product(adj_t, x[0] if isinstance(x, tuple) else x)
    if reduce == 'mean':
        return total / adj_t.crow_indices().diff().clamp(min=1)[:, None]
    if reduce not in ('sum', 'add'):
        raise ValueError(f'a product of matrices sums or averages, got {reduce!r}')
    return total


def product(matrix: Tensor, x: Tensor) -> Tensor:
    """`matrix @ x` for a constant sparse matrix, in its precision.

    torch's own sorts the matrix anew in every backward pass (for which a GPU is waited for), and has none for
    the half precisions of autocast. Here its transpose is kept on it once it was needed.

    Args:
        matrix: [N, M], sparse in CSR, float32 or float64.
        x: [M, d].
    """
    with torch.autocast(x.device.type, enabled=False):
        return _Product.apply(matrix, x.to(matrix.dtype))


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, x: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        return None, _transpose(ctx.matrix) @ grad


def _transpose(matrix: Any) -> Tensor:
    if not hasattr(matrix, 'transpose_kept'):
        matrix.transpose_kept = matrix.t().to_sparse_csr()
    return matrix.transpose_kept

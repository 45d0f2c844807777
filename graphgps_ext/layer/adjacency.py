"""Edges as PyG's convolutions work fastest on them: a sparse matrix instead of a list."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_torch_csr_tensor


def adjacency(edge_index: Tensor, x: Tensor, num_targets: int | None = None) -> Tensor:
    """The edges as PyG's convolutions work fastest on them: the transposed adjacency [N, M], sparse in CSR.

    They then multiply by a matrix instead of gathering and scattering [E, d], with equal results: a GCN layer
    of width 64 on Tolokers (10⁶ edges) takes a seventh of the time on one CPU core. Under autocast, for which
    torch has no sparse product, the edges stay as they are.

    Args:
        edge_index: [2, E]. Sorted by target, then source, nothing is sorted again.
        x: [M, F].
        num_targets: N, of edges from rows of `x` to the first N of them, which have to come sorted by target;
            the sources of one may be in any order and repeat, since they are only summed. None = M.
    """
    if torch.is_autocast_enabled(x.device.type):
        return edge_index
    source, target = edge_index
    is_sorted = num_targets is not None or bool((target * len(x) + source).diff().gt(0).all())
    size = (len(x) if num_targets is None else num_targets, len(x))
    return _transposed_csr(edge_index, x.new_ones(source.numel()), size, is_sorted)


def normalized_adjacency(edge_index: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """GCN's adjacency with self-loops and symmetric normalisation, which is the same in all its layers.

    Made once here, it spares each layer of PyG's `GCNConv` that works on a sparse matrix making it anew: a
    training step of eight layers of width 64 takes a third less time on one CPU core.

    Args:
        edge_index: [2, E].
        x: [N, F].

    Returns:
        `edge_index` and `edge_weight` of PyG's `GCNConv(normalize=False)`: as in :func:`adjacency` a sparse
        matrix and None, or under autocast edges and their weights.
    """
    edge_index, weight = gcn_norm(edge_index, num_nodes=len(x), dtype=x.dtype)
    if torch.is_autocast_enabled(x.device.type):
        return edge_index, weight
    return _transposed_csr(edge_index, weight, (len(x), len(x)), is_coalesced=False), None


def _transposed_csr(edge_index: Tensor, weight: Tensor, size: tuple[int, int], is_coalesced: bool) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse (CSR tensor support|invariant checks)')
        return to_torch_csr_tensor(edge_index.flip(0), weight, size=size, is_coalesced=is_coalesced)

"""Transpose of an attention graph: its edges by source and, of one source, by type.

The backward pass sums key and value gradients over out-edges; with the transpose each row has one writer.
Edges of one type stand together because the CPU kernels take them in one go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors, NeighborTable, OutNeighbors
from graphgps_ext.ops import numba_transpose

G = TypeVar('G', InNeighbors, NeighborTable)


def with_transpose(graph: G, num_types: int | None = None, *, with_edge_id: bool = False) -> G:
    """The graph with its transpose, for backward passes; the same object if it holds one already.

    Args:
        graph: CSR or table.
        num_types: T, above every edge type; None looks for it, for which a GPU has to be waited for.
        with_edge_id: also note the position of each edge, which the gradient of a bias per edge needs.

    Raises:
        IndexError: if a source or a type is out of range (on the CPU; on a GPU nobody looks).
    """
    if graph.transpose is not None and (graph.transpose.edge_id is not None or not with_edge_id):
        return graph
    if num_types is None:
        num_types = int(graph.edge_type.max()) + 1 if graph.edge_type.numel() else 1
    arrays = (graph.indptr, graph.source, graph.edge_type, graph.num_sources, num_types)
    return replace(graph, transpose=transpose(*arrays, with_edge_id=with_edge_id))


def transpose(
    indptr: Tensor | None,
    source: Tensor,
    edge_type: Tensor,
    num_sources: int,
    num_types: int,
    *,
    with_edge_id: bool,
) -> OutNeighbors:
    """Edges by source; they ascend by (source, type, edge).

    Args:
        indptr: [N + 1] int64 row offsets, or None for a table.
        source: [E], or [N, K] with -1 in empty slots, which are left out: of the arrays returned only the
            entries from `indptr[0]` up to `indptr[-1]` count.
        edge_type: int8 in the shape of `source`.
        num_sources: M.
        num_types: T, above every edge type.
        with_edge_id: whether to return the position of each edge in `source`.

    Raises:
        IndexError: if a source or a type is out of range (on the CPU; on a GPU nobody looks).
    """
    if source.device.type != 'cpu':
        from graphgps_ext.ops.triton_transpose import transpose_triton  # builds without CUDA lack Triton

        return transpose_triton(indptr, source, edge_type, num_sources, num_types, with_edge_id=with_edge_id)
    _check_range('source', source, num_sources)
    _check_range('edge_type', edge_type, num_types)
    offsets = torch.arange(source.shape[0] + 1) * source.shape[1] if indptr is None else indptr
    arrays = (offsets.numpy(), source.flatten().numpy(), edge_type.flatten().numpy())
    made = numba_transpose.transpose(*arrays, num_sources, num_types, with_edge_id=with_edge_id)
    out_indptr, target, out_type = (torch.from_numpy(array) for array in made[:3])
    return OutNeighbors(out_indptr, target, out_type, None if made[3] is None else torch.from_numpy(made[3]))


def _check_range(name: str, x: Tensor, size: int) -> None:
    low, high = (int(y) for y in x.aminmax()) if x.numel() else (0, 0)
    if low < -1 or high >= max(size, 1):
        raise IndexError(f'{name} must lie in [0, {size}), got {low if low < -1 else high}')

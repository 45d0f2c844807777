"""The transpose on CUDA devices: one sort by torch, then one kernel that writes all arrays.

Torch's sort of one long line of integers is a radix sort: it counts digits, without comparisons or atomics,
and is stable, so that equal graphs have equal transposes. The host waits for nothing.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from graphgps_ext.graph import OutNeighbors, index_dtype

BLOCK = 256  # edges, and sources, of one program; not measured


@triton.jit
def _first(values, num_values, threshold, steps, ABOVE: tl.constexpr):
    """Of ascending values the position of the first one ≥ threshold, or (ABOVE) > threshold."""
    low = tl.zeros(threshold.shape, tl.int64)
    high = low + num_values
    for _step in range(steps):
        middle = (low + high) // 2
        value = tl.load(values + middle, mask=low < high, other=0)
        if ABOVE:
            before = (low < high) & (value <= threshold)
        else:
            before = (low < high) & (value < threshold)
        low = tl.where(before, middle + 1, low)
        high = tl.where(before, high, middle)
    return low


@triton.jit(do_not_specialize=['num_rows', 'num_edges', 'num_sources', 'row_steps', 'edge_steps'])
def write_transpose(
    ordered, order, indptr, edge_type, num_rows, num_edges, num_sources, row_steps, edge_steps,
    out_indptr, out_target, out_type, out_edge,
    K, T: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The arrays of the transpose from the sorted keys `ordered` and the positions `order` they had.

    `indptr` None: the rows are those of a table of K slots. `out_edge` None: it is not wanted.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    first = _first(ordered, num_edges, i * T, edge_steps, False)
    tl.store(out_indptr + i, first, mask=i <= num_sources)
    live = i < num_edges
    edge = tl.load(order + i, mask=live, other=0)
    if indptr is None:
        row = edge // K
    else:
        row = _first(indptr, num_rows + 1, edge, row_steps, True) - 1
    tl.store(out_target + i, row, mask=live)
    tl.store(out_type + i, tl.load(edge_type + edge, mask=live, other=0), mask=live)
    if out_edge is not None:
        tl.store(out_edge + i, edge, mask=live)


def transpose_triton(
    indptr: Tensor | None,
    source: Tensor,
    edge_type: Tensor,
    num_sources: int,
    num_types: int,
    *,
    with_edge_id: bool,
) -> OutNeighbors:
    """:func:`~graphgps_ext.ops.transpose.transpose` on a CUDA device."""
    num_rows = source.shape[0] if indptr is None else indptr.numel() - 1
    K = source.shape[1] if indptr is None else 0
    source, edge_type = source.flatten(), edge_type.flatten()
    num_edges, device = source.numel(), source.device
    # An empty slot's key is -T + its type, negative: it sorts to the front and is left out.
    source = source.to(index_dtype(num_sources * num_types))
    ordered, order = torch.sort(torch.add(edge_type, source, alpha=num_types), stable=True)
    out = OutNeighbors(
        torch.empty(num_sources + 1, dtype=torch.int64, device=device),
        torch.empty(num_edges, dtype=index_dtype(num_rows), device=device),
        torch.empty_like(edge_type),
        torch.empty(num_edges, dtype=index_dtype(num_edges), device=device) if with_edge_id else None,
    )
    write_transpose[(triton.cdiv(max(num_edges, num_sources + 1), BLOCK),)](
        ordered, order, None if indptr is None else indptr.contiguous(), edge_type,
        num_rows, num_edges, num_sources, (num_rows + 1).bit_length(), num_edges.bit_length(),
        out.indptr, out.target, out.edge_type, out.edge_id,
        K=K, T=num_types, BLOCK=BLOCK,
    )  # fmt: skip
    return out

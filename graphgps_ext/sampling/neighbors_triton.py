"""The draw of :func:`~graphgps_ext.sampling.sample_neighbors` on CUDA devices: launches the Triton kernels.

The host waits for nothing unless it is to check the weights, so a draw can be captured in a CUDA graph. All
that is allocated are the tables.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphgps_ext.graph import InNeighbors
from graphgps_ext.sampling import triton_kernels
from graphgps_ext.sampling.random import signed
from graphgps_ext.sampling.strategies import bad_weight

# Not measured: the sizes of these tiles.
TILE = 128  # edges that a warp takes at a time: rows of this length, or several shorter ones together
HUB = 2048  # rows of more edges get HUB_WARPS warps of their own, which take HUB edges at a time
HUB_WARPS = 8
HUB_ROWS = 16  # that are searched by one program for such rows


def draw_triton(
    graph: InNeighbors,
    weights: Tensor | None,
    degree: int,
    strategy: str,
    fill: str,
    key: int | Tensor,
    nodes: Tensor | None,
    *,
    checked: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """source, edge_type and edge_id, each [n, K], on the device of the graph.

    Args:
        others: see :func:`~graphgps_ext.sampling.sample_neighbors`.
        checked: leave the weights unchecked; edges of bad ones are not drawn.

    Raises:
        ValueError: unless `checked`, if a weight of these rows is bad.
    """
    device = graph.indptr.device
    num_rows = graph.num_nodes if nodes is None else nodes.numel()
    source = torch.empty(num_rows, degree, dtype=graph.source.dtype, device=device)
    edge_type = torch.empty(num_rows, degree, dtype=torch.int8, device=device)
    edge_id = torch.empty(num_rows, degree, dtype=torch.int64, device=device)
    if num_rows == 0:
        return source, edge_type, edge_id
    if not isinstance(key, Tensor):
        key = torch.full((), signed(key), device=device)
    bad_row = None if checked or weights is None else torch.full((), num_rows, device=device)
    arrays = (
        graph.indptr.contiguous(), graph.source.contiguous(), graph.edge_type.contiguous(),
        None if weights is None else weights.detach().contiguous(),
        None if nodes is None else nodes.contiguous(),
        key, bad_row, num_rows, source, edge_type, edge_id,
    )  # fmt: skip
    BK = max(2, _power_of_two(degree))
    BE = min(TILE, max(16, _power_of_two(graph.num_edges // max(1, graph.num_nodes))))
    R = max(1, TILE // BE)
    options = {'K': degree, 'TOP': strategy == 'top', 'REPEAT': fill == 'repeat', 'HUB': HUB}
    triton_kernels.draw_rows[(-(-num_rows // R),)](
        *arrays, **options, HUBS=False, ROWS=R, R=R, BE=BE, BK=BK, num_warps=1
    )
    if graph.num_edges > HUB:  # there may be such a row
        triton_kernels.draw_rows[(-(-num_rows // HUB_ROWS),)](
            *arrays, **options, HUBS=True, ROWS=HUB_ROWS, R=1, BE=HUB, BK=BK, num_warps=HUB_WARPS
        )
    if bad_row is not None and (row := int(bad_row)) < num_rows:
        raise bad_weight(row if nodes is None else int(nodes[row]))
    return source, edge_type, edge_id


def derive_key(key: Tensor, part: int) -> Tensor:
    """int64 [], `stream_key(key, part)` of a key int64 [] on a device, which nobody waits for."""
    out = torch.empty_like(key)
    triton_kernels.derive_key[(1,)](key, part, out)
    return out


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()

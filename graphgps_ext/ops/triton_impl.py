"""The attention operator on CUDA devices: chooses tiles and launches the Triton kernels.

Nothing here waits for the device: sizes of arrays are upper bounds that follow from shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphgps_ext.ops import triton_backward, triton_kernels
from graphgps_ext.ops.transpose import transpose as make_transpose

SEGMENT = 1024  # edges of a row handled by one program
PROGRAMS = 4096  # programs of the row pass, each of which leaves one share of the table gradients


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


class _Tile(NamedTuple):
    """BN segments x BH heads x BE edges x BC channels per step."""

    BN: int
    BH: int
    BE: int
    BC: int


def _tile(H: int, C: int, degree: float, elements: int) -> _Tile:
    """A tile of about `elements` numbers for rows of `degree` edges on average."""
    BC = _power_of_two(C)
    BH = min(_power_of_two(H), max(1, elements // BC))
    room = max(1, elements // (BC * BH))
    # Short rows: few edges of many rows, so that the sum across edges stays small; long rows: the reverse.
    BE = min(room, _power_of_two(max(1, int(degree / 4))))
    return _Tile(max(1, room // BE), BH, BE, BC)


class _Segments(NamedTuple):
    """Rows cut into segments of at most SEGMENT edges: row i continues in the extra segments
    extra_ptr[i]:extra_ptr[i + 1]; extra_row holds the row of each, or num_rows where it does not exist.
    """

    extra_ptr: Tensor | None
    extra_row: Tensor | None
    num_extra: int
    num_rows: int


def _segments(indptr: Tensor | None, num_rows: int, num_edges: int) -> _Segments:
    num_extra = num_edges // SEGMENT
    if indptr is None or num_extra == 0:  # never read
        return _Segments(indptr, indptr, 0, num_rows)
    extra_ptr = torch.zeros_like(indptr)
    torch.cumsum((indptr.diff() - 1).clamp(min=0) // SEGMENT, 0, out=extra_ptr[1:])
    extra = torch.arange(num_extra, device=indptr.device)
    extra_row = torch.searchsorted(extra_ptr[1:], extra, right=True)
    return _Segments(extra_ptr, extra_row, num_extra, num_rows)


def _rows(x: Tensor) -> tuple[Tensor, int, int]:
    """A tensor [*, H, C] with contiguous channels, and its strides of node and head."""
    if x.stride(2) != 1 and x.shape[2] > 1:
        x = x.contiguous()
    return x, x.stride(0), x.stride(1)


def _scaled_tables(type_scale: Tensor, type_bias: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    factor = 1 / (type_scale.shape[2] ** 0.5 * temperature)
    return (type_scale.float() * factor).contiguous(), (type_bias.float() / temperature).contiguous()


def _strides(**rows: tuple[Tensor, int, int]) -> dict[str, int]:
    nodes = {f'{name}N': node for name, (_, node, _) in rows.items()}
    return nodes | {f'{name}H': head for name, (_, _, head) in rows.items()}


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    type_scale: Tensor,
    type_bias: Tensor,
    edge_bias: Tensor | None,
    indptr: Tensor | None,
    source: Tensor,
    edge_type: Tensor,
    temperature: float,
    logit_clamp: float,
    want_weights: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output [N, H, C], log-sum-exp [N, H] of logit / temperature, weights (flat, empty unless wanted)."""
    N, H, C = query.shape
    E = source.numel()
    out = query.new_empty(N, H, C)
    lse = query.new_empty(N, H, dtype=torch.float32)
    weights = query.new_zeros(E * H if want_weights else 0, dtype=torch.float32)
    if E == 0:
        return out.zero_(), lse.zero_(), weights
    source, edge_type = source.contiguous(), edge_type.contiguous()
    q, k, v = _rows(query), _rows(key), _rows(value)
    scale, bias = _scaled_tables(type_scale, type_bias, temperature)
    bias_of_edges = None if edge_bias is None else edge_bias.float().contiguous()
    segments = _segments(indptr, N, E)
    extra_out = query.new_empty(segments.num_extra, H, C, dtype=torch.float32)
    extra_lse = query.new_empty(segments.num_extra, H, dtype=torch.float32)
    num_segments = N + segments.num_extra
    tile = _tile(H, C, E / N, 1024)
    grid = (_ceil_div(num_segments, tile.BN), _ceil_div(H, tile.BH))
    graph = (indptr, source, edge_type, segments.extra_ptr, segments.extra_row, N, num_segments, SEGMENT)
    options = {
        'K': source.shape[1] if indptr is None else 0, 'H': H, 'C': C,
        'HAS_BIAS': edge_bias is not None, 'HAS_CLAMP': logit_clamp > 0, **tile._asdict(),
    }  # fmt: skip
    numbers = (scale, bias, bias_of_edges, 1 / temperature, logit_clamp)
    triton_kernels.forward[grid](
        *graph, q[0], k[0], v[0], *numbers, out, lse, extra_out, extra_lse,
        **options, **_strides(Q=q, K=k, V=v),
    )  # fmt: skip
    if segments.num_extra:
        triton_kernels.merge_outputs[(segments.num_extra, grid[1])](
            segments.extra_ptr, segments.extra_row, N, out, lse, extra_out, extra_lse,
            H=H, C=C, BH=tile.BH, BC=tile.BC,
        )  # fmt: skip
    if want_weights:
        triton_kernels.edge_weights[grid](
            *graph, q[0], k[0], *numbers, lse, weights, **options, **_strides(Q=q, K=k)
        )
    return out, lse, weights


def backward(
    grad: Tensor,
    out: Tensor,
    lse: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    type_scale: Tensor,
    type_bias: Tensor,
    edge_bias: Tensor | None,
    indptr: Tensor | None,
    source: Tensor,
    edge_type: Tensor,
    transpose: tuple[Tensor, Tensor, Tensor, Tensor] | None,
    temperature: float,
    logit_clamp: float,
    want_edge_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, type_scale, type_bias and (flat, empty unless wanted) edge_bias.

    `transpose` is (indptr, target, edge_id, edge_type) by source; it is made here where it is None.
    """
    N, H, C = query.shape
    M, T, E = key.shape[0], type_scale.shape[0], source.numel()
    grad_query, grad_key, grad_value = (
        query.new_empty(N, H, C),
        key.new_empty(M, H, C),
        key.new_empty(M, H, C),
    )
    grad_edge = query.new_zeros(E * H if want_edge_grad else 0, dtype=torch.float32)
    if E == 0:
        zero_tables = type_scale.new_zeros(T, H, C), type_bias.new_zeros(T, H)
        return grad_query.zero_(), grad_key.zero_(), grad_value.zero_(), *zero_tables, grad_edge
    if transpose is None:
        transpose = make_transpose(indptr, source, edge_type, M, T, with_edge_id=edge_bias is not None)
    source, edge_type = source.contiguous(), edge_type.contiguous()
    q, k, v, g = _rows(query), _rows(key), _rows(value), _rows(grad)
    scale, bias = _scaled_tables(type_scale, type_bias, temperature)
    bias_of_edges = None if edge_bias is None else edge_bias.float().contiguous()
    numbers = (scale, bias, bias_of_edges, 1 / temperature, logit_clamp)
    delta = torch.empty_like(lse)
    flags = {'H': H, 'C': C, 'HAS_BIAS': edge_bias is not None, 'HAS_CLAMP': logit_clamp > 0}
    strides = _strides(Q=q, K=k, V=v, G=g)

    segments = _segments(indptr, N, E)
    num_segments = N + segments.num_extra
    tile = _tile(H, C, E / N, 512)
    num_tiles = _ceil_div(num_segments, tile.BN)
    grid = (min(PROGRAMS, num_tiles), _ceil_div(H, tile.BH))
    share_scale = query.new_empty(*grid, T, tile.BH, tile.BC, dtype=torch.float32)
    share_bias = query.new_empty(*grid, T, tile.BH, dtype=torch.float32)
    extra_query = query.new_empty(segments.num_extra, H, C, dtype=torch.float32)
    triton_backward.backward_rows[grid](
        indptr, source, edge_type, segments.extra_ptr, segments.extra_row, N, num_segments, SEGMENT,
        num_tiles,
        q[0], k[0], v[0], g[0], *numbers, out, lse,
        delta, grad_query, extra_query, grad_edge, share_scale, share_bias,
        K=source.shape[1] if indptr is None else 0, T=T, EDGE_GRAD=want_edge_grad,
        **flags, **strides, **tile._asdict(),
    )  # fmt: skip
    _merge_sums(segments, tile, grad_query, extra_query)

    out_indptr, out_target, out_edge_id, out_type = transpose
    out_segments = _segments(out_indptr, M, E)
    num_segments = M + out_segments.num_extra
    tile = _tile(H, C, E / M, 1024)
    grid = (_ceil_div(num_segments, tile.BN), _ceil_div(H, tile.BH))
    extra_key = key.new_empty(out_segments.num_extra, H, C, dtype=torch.float32)
    extra_value = torch.empty_like(extra_key)
    triton_backward.backward_columns[grid](
        out_indptr, out_target, out_type, out_edge_id, out_segments.extra_ptr, out_segments.extra_row,
        M, num_segments, SEGMENT, q[0], k[0], v[0], g[0], *numbers, lse, delta,
        grad_key, grad_value, extra_key, extra_value, **flags, **strides, **tile._asdict(),
    )  # fmt: skip
    _merge_sums(out_segments, tile, grad_key, extra_key)
    _merge_sums(out_segments, tile, grad_value, extra_value)

    # [head groups, T, BH, BC] -> [T, H, C]
    table_scale = share_scale.double().sum(0).transpose(0, 1).flatten(1, 2)[:, :H, :C]
    table_bias = share_bias.double().sum(0).transpose(0, 1).flatten(1, 2)[:, :H]
    table_scale, table_bias = table_scale / (C**0.5 * temperature), table_bias / temperature
    return grad_query, grad_key, grad_value, table_scale.float(), table_bias.float(), grad_edge


def _merge_sums(segments: _Segments, tile: _Tile, total: Tensor, extra_total: Tensor) -> None:
    if segments.num_extra == 0:
        return
    H, C = total.shape[1:]
    triton_kernels.merge_sums[(segments.num_extra, _ceil_div(H, tile.BH))](
        segments.extra_ptr, segments.extra_row, segments.num_rows, total, extra_total,
        H=H, C=C, BH=tile.BH, BC=tile.BC,
    )  # fmt: skip

"""The attention operator on CUDA devices: chooses tiles and launches the Triton kernels.

Nothing here waits for the device: sizes of arrays are upper bounds that follow from shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphgps_ext.graph import OutNeighbors
from graphgps_ext.ops import triton_backward, triton_kernels
from graphgps_ext.ops.inputs import AttentionInputs

SEGMENT = 2048  # edges of a row handled by one program
PROGRAMS = 16384  # programs of the row pass, each of which leaves one share of the table gradients


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


class _Tile(NamedTuple):
    """BN segments x BH heads x BE edges x BC channels per step, by `num_warps` warps of 32 threads."""

    BN: int
    BH: int
    BE: int
    BC: int
    num_warps: int


def _tile(H: int, C: int, degree: float | None, num_warps: int = 1) -> _Tile:
    """A tile for rows of `degree` edges on average, or for those of a table (None).

    Small tiles, measured on an H200: a warp gathers 128 numbers at a time, or 32 edges of narrow rows. Graphs
    of skewed degrees take the edges of one row together, so that no row waits for a longer one; a table takes
    one edge of many rows, so that nothing is summed across threads but channels.
    """
    BC = _power_of_two(C)
    elements = num_warps * (32 * BC if BC <= 8 else 128)
    BH = min(_power_of_two(H), max(1, elements // BC))
    room = max(1, elements // (BC * BH))
    BE = 1 if degree is None else min(room, _power_of_two(max(1, int(degree))))
    return _Tile(max(1, room // BE), BH, BE, BC, num_warps)


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


def _neighbor_rows(a: Tensor, b: Tensor) -> tuple[tuple[Tensor, int, int], tuple[Tensor, int, int]]:
    """Two tensors [M, H, C] of which every edge reads one row each.

    A row below 32 bytes, the unit in which memory is read, shares it with the other tensor's row.
    """
    if a.shape[2] * a.element_size() >= 32:
        return _rows(a), _rows(b)
    both = torch.stack((a, b), 2)
    return _rows(both[:, :, 0]), _rows(both[:, :, 1])


def _formula(inputs: AttentionInputs) -> tuple[Tensor, Tensor, Tensor | None, float, float]:
    """What makes a logit beside query and key: scale, bias, edge_bias, inv_temperature and clamp."""
    factor = 1 / (inputs.type_scale.shape[2] ** 0.5 * inputs.temperature)
    scale = (inputs.type_scale.float() * factor).contiguous()
    bias = (inputs.type_bias.float() / inputs.temperature).contiguous()
    edge_bias = None if inputs.edge_bias is None else inputs.edge_bias.float().contiguous()
    return scale, bias, edge_bias, 1 / inputs.temperature, inputs.logit_clamp


def _constants(inputs: AttentionInputs) -> dict[str, int | bool]:
    T, H, C = inputs.type_scale.shape
    return {
        'H': H, 'C': C, 'T': T, 'HAS_BIAS': inputs.edge_bias is not None, 'HAS_CLAMP': inputs.logit_clamp > 0
    }  # fmt: skip


def _strides(**rows: tuple[Tensor, int, int]) -> dict[str, int]:
    nodes = {f'{name}N': node for name, (_, node, _) in rows.items()}
    return nodes | {f'{name}H': head for name, (_, _, head) in rows.items()}


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def forward(inputs: AttentionInputs, want_weights: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Output [N, H, C], log-sum-exp [N, H] of logit / temperature, weights (flat, empty unless wanted)."""
    query, indptr = inputs.query, inputs.indptr
    N, H, C = query.shape
    E = inputs.source.numel()
    out = query.new_empty(N, H, C)
    lse = query.new_empty(N, H, dtype=torch.float32)
    weights = query.new_zeros(E * H if want_weights else 0, dtype=torch.float32)
    if E == 0:
        return out.zero_(), lse.zero_(), weights
    source, edge_type = inputs.source.contiguous(), inputs.edge_type.contiguous()
    q, (k, v) = _rows(query), _neighbor_rows(inputs.key, inputs.value)
    formula = _formula(inputs)
    segments = _segments(indptr, N, E)
    extra_out = query.new_empty(segments.num_extra, H, C, dtype=torch.float32)
    extra_lse = query.new_empty(segments.num_extra, H, dtype=torch.float32)
    rest, extra_rest = torch.empty_like(lse), torch.empty_like(extra_lse)
    num_segments = N + segments.num_extra
    tile = _tile(H, C, None if indptr is None else E / N)
    grid = (_ceil_div(num_segments, tile.BN), _ceil_div(H, tile.BH))
    graph = (indptr, source, edge_type, segments.extra_ptr, segments.extra_row, N, num_segments, SEGMENT)
    options = {'K': source.shape[1] if indptr is None else 0, **_constants(inputs), **tile._asdict()}
    triton_kernels.forward[grid](
        *graph, q[0], k[0], v[0], *formula, out, lse, rest, extra_out, extra_lse, extra_rest,
        **options, **_strides(Q=q, K=k, V=v),
    )  # fmt: skip
    if segments.num_extra:
        triton_kernels.merge_outputs[(segments.num_extra, grid[1])](
            segments.extra_ptr, segments.extra_row, N, out, lse, rest, extra_out, extra_lse, extra_rest,
            H=H, C=C, BH=tile.BH, BC=tile.BC,
        )  # fmt: skip
    if want_weights:
        triton_kernels.edge_weights[grid](
            *graph, q[0], k[0], *formula, lse, rest, weights, **options, **_strides(Q=q, K=k)
        )
    return out, lse, weights


def backward(
    grad: Tensor,
    out: Tensor,
    lse: Tensor,
    inputs: AttentionInputs,
    transpose: OutNeighbors,
    want_edge_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, type_scale, type_bias and (flat, empty unless wanted) edge_bias.

    With an edge bias the transpose needs `edge_id`.
    """
    query, key, indptr = inputs.query, inputs.key, inputs.indptr
    N, H, C = query.shape
    M, T, E = key.shape[0], inputs.type_scale.shape[0], inputs.source.numel()
    grad_query = query.new_empty(N, H, C)
    grad_key, grad_value = key.new_empty(M, H, C), key.new_empty(M, H, C)
    grad_edge = query.new_zeros(E * H if want_edge_grad else 0, dtype=torch.float32)
    if E == 0:
        zero_tables = inputs.type_scale.new_zeros(T, H, C), inputs.type_bias.new_zeros(T, H)
        return grad_query.zero_(), grad_key.zero_(), grad_value.zero_(), *zero_tables, grad_edge
    source, edge_type = inputs.source.contiguous(), inputs.edge_type.contiguous()
    (q, g), (k, v) = _neighbor_rows(query, grad), _neighbor_rows(key, inputs.value)
    formula = _formula(inputs)
    lse_delta = lse.new_empty(N, H, 2)
    options = {**_constants(inputs), **_strides(Q=q, K=k, V=v, G=g)}

    segments = _segments(indptr, N, E)
    num_segments = N + segments.num_extra
    tile = _tile(H, C, None, 4) if indptr is None else _tile(H, C, E / N)
    num_tiles = _ceil_div(num_segments, tile.BN)
    grid = (min(PROGRAMS, num_tiles), _ceil_div(H, tile.BH))
    share_scale = query.new_empty(*grid, T, tile.BH, tile.BC, dtype=torch.float32)
    share_bias = query.new_empty(*grid, T, tile.BH, dtype=torch.float32)
    extra_query = query.new_empty(segments.num_extra, H, C, dtype=torch.float32)
    triton_backward.backward_rows[grid](
        indptr, source, edge_type, segments.extra_ptr, segments.extra_row, N, num_segments, SEGMENT,
        num_tiles,
        q[0], k[0], v[0], g[0], *formula, out, lse,
        lse_delta, grad_query, extra_query, grad_edge, share_scale, share_bias,
        K=source.shape[1] if indptr is None else 0, EDGE_GRAD=want_edge_grad,
        **options, **tile._asdict(),
    )  # fmt: skip
    _merge_sums(segments, tile, grad_query, extra_query)

    out_segments = _segments(transpose.indptr, M, E)
    num_segments = M + out_segments.num_extra
    tile = _tile(H, C, E / M)
    grid = (_ceil_div(num_segments, tile.BN), _ceil_div(H, tile.BH))
    extra_key = key.new_empty(out_segments.num_extra, H, C, dtype=torch.float32)
    extra_value = torch.empty_like(extra_key)
    triton_backward.backward_columns[grid](
        transpose.indptr, transpose.target, transpose.edge_type, transpose.edge_id,
        out_segments.extra_ptr, out_segments.extra_row, M, num_segments, SEGMENT,
        q[0], k[0], v[0], g[0], *formula, lse_delta,
        grad_key, grad_value, extra_key, extra_value, **options, **tile._asdict(),
    )  # fmt: skip
    _merge_sums(out_segments, tile, grad_key, extra_key)
    _merge_sums(out_segments, tile, grad_value, extra_value)

    # [head groups, T, BH, BC] -> [T, H, C]
    table_scale = share_scale.double().sum(0).transpose(0, 1).flatten(1, 2)[:, :H, :C]
    table_bias = share_bias.double().sum(0).transpose(0, 1).flatten(1, 2)[:, :H]
    table_scale, table_bias = table_scale / (C**0.5 * inputs.temperature), table_bias / inputs.temperature
    return grad_query, grad_key, grad_value, table_scale.float(), table_bias.float(), grad_edge


def _merge_sums(segments: _Segments, tile: _Tile, total: Tensor, extra_total: Tensor) -> None:
    if segments.num_extra == 0:
        return
    H, C = total.shape[1:]
    triton_kernels.merge_sums[(segments.num_extra, _ceil_div(H, tile.BH))](
        segments.extra_ptr, segments.extra_row, segments.num_rows, total, extra_total,
        H=H, C=C, BH=tile.BH, BC=tile.BC,
    )  # fmt: skip

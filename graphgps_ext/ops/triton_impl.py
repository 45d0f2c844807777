"""The attention operator on CUDA devices: chooses tiles and launches the Triton kernels.

Nothing here waits for the device: sizes of arrays are upper bounds that follow from shapes.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphgps_ext.graph import OutNeighbors
from graphgps_ext.ops import triton_backward, triton_kernels
from graphgps_ext.ops.inputs import AttentionInputs
from graphgps_ext.ops.triton_launch import launch

# Both were raised (from 1024 and 4096) when the tiles below were chosen on an H200. No row was noted that
# tells their own effect: measure before you change them, with the stage 1 rows of bench_attention.py on a
# GPU.
SEGMENT = 2048  # edges of a row handled by one program; the kernels' S
PROGRAMS = 16384  # programs of the row pass, each of which leaves one share of the table gradients
SHARES, NUMBERS = 512, 16  # shares added at a time, and numbers of each, where the table gradients are summed


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


class _Tile(NamedTuple):
    """BN segments x BH heads x BE edges x BC channels per step, by `num_warps` warps of 32 threads."""

    BN: int
    BH: int
    BE: int
    BC: int
    num_warps: int

    def constants(self) -> dict[str, int]:
        return {'BN': self.BN, 'BH': self.BH, 'BE': self.BE, 'BC': self.BC}


@cache
def _tile(H: int, C: int, degree: int, num_warps: int = 1) -> _Tile:
    """A tile for rows of about `degree` edges, or for those of a table (0).

    Small tiles, measured on an H200: a warp gathers 128 numbers at a time, or 32 edges of narrow rows. Graphs
    of skewed degrees take the edges of one row together, so that no row waits for a longer one; a table takes
    one edge of many rows, so that nothing is summed across threads but channels.
    """
    BC = _power_of_two(C)
    elements = num_warps * (32 * BC if BC <= 8 else 128)
    BH = min(_power_of_two(H), max(1, elements // BC))
    room = max(1, elements // (BC * BH))
    BE = min(room, _power_of_two(degree)) if degree else 1
    return _Tile(max(1, room // BE), BH, BE, BC, num_warps)


class _Segments(NamedTuple):
    """The rows of a graph as the kernels cut them: `num_cuts` is an upper bound."""

    indptr: Tensor | None
    num_rows: int
    num_cuts: int
    degree: int  # for `_tile`: of a CSR graph at least 1

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The kernels' num_rows, num_segments and steps."""
        return self.num_rows, self.num_rows + self.num_cuts, self.num_rows.bit_length()

    def grid(self, tile: _Tile, H: int, most: int = 2**31 - 1) -> tuple[int, int, int]:
        num_tiles = _ceil_div(self.num_rows + self.num_cuts, tile.BN)
        return min(num_tiles, most), _ceil_div(H, tile.BH), 1


def _segments(indptr: Tensor | None, num_rows: int, num_edges: int) -> _Segments:
    if indptr is None:
        return _Segments(None, num_rows, 0, 0)
    return _Segments(indptr, num_rows, num_edges // SEGMENT, max(1, num_edges // num_rows))


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


def _formula(inputs: AttentionInputs) -> tuple[Tensor, Tensor, Tensor | None]:
    """What makes a logit beside query and key: scale, bias and edge_bias."""
    edge_bias = None if inputs.edge_bias is None else inputs.edge_bias.float().contiguous()
    return inputs.type_scale.contiguous(), inputs.type_bias.contiguous(), edge_bias


def _constants(inputs: AttentionInputs) -> dict[str, Any]:
    T, H, C = inputs.type_scale.shape
    return {
        'S': SEGMENT, 'H': H, 'C': C, 'T': T, 'FACTOR': 1 / C**0.5, 'HAS_CLAMP': inputs.logit_clamp > 0
    }  # fmt: skip


def _width(inputs: AttentionInputs) -> int:
    """K of a table, 0 for CSR."""
    return inputs.source.shape[1] if inputs.indptr is None else 0


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def forward(inputs: AttentionInputs, want_weights: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Output [N, H, C], log-sum-exp [N, H], weights (flat, if wanted)."""
    query, indptr = inputs.query, inputs.indptr
    N, H, C = query.shape
    E = inputs.source.numel()
    out = query.new_empty(N, H, C)
    lse = query.new_empty(N, H, dtype=torch.float32)
    weights = query.new_zeros(E * H, dtype=torch.float32) if want_weights else None
    if E == 0:
        return out.zero_(), lse.zero_(), weights
    source, edge_type = inputs.source.contiguous(), inputs.edge_type.contiguous()
    q, QN, QH = _rows(query)
    (k, KN, KH), (v, VN, VH) = _neighbor_rows(inputs.key, inputs.value)
    formula = _formula(inputs)
    segments = _segments(indptr, N, E)
    rest = torch.empty_like(lse) if segments.num_cuts or want_weights else None
    extra = lse.new_empty(segments.num_cuts, H, C + 2) if segments.num_cuts else None
    tile = _tile(H, C, segments.degree)
    grid, numbers = segments.grid(tile, H), (*segments.sizes, inputs.logit_clamp)
    constants = {
        'K': _width(inputs), **_constants(inputs), 'QN': QN, 'QH': QH, 'KN': KN, 'KH': KH, 'VN': VN, 'VH': VH,
    }  # fmt: skip
    forward_launch = launch(triton_kernels.forward, tile.num_warps, **constants, **tile.constants())
    forward_launch(grid, (indptr, source, edge_type, q, k, v, *formula, out, lse, rest, extra), *numbers)
    if extra is not None:
        merge = launch(triton_kernels.merge_outputs, 4, S=SEGMENT, H=H, C=C, BH=tile.BH, BC=tile.BC)
        merge((segments.num_cuts, grid[1], 1), (indptr, out, lse, rest, extra), N, numbers[2])
    if weights is not None:
        del constants['VN'], constants['VH']
        weigh = launch(triton_kernels.edge_weights, tile.num_warps, **constants, **tile.constants())
        weigh(grid, (indptr, source, edge_type, q, k, *formula, lse, rest, weights), *numbers)
    return out, lse, weights


def backward(
    grad: Tensor,
    out: Tensor,
    lse: Tensor,
    inputs: AttentionInputs,
    transpose: OutNeighbors,
    want_edge_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of query, key, value, type_scale, type_bias and (flat, if wanted) edge_bias.

    With an edge bias the transpose needs `edge_id`.
    """
    query, key, indptr = inputs.query, inputs.key, inputs.indptr
    N, H, C = query.shape
    M, T, E = key.shape[0], inputs.type_scale.shape[0], inputs.source.numel()
    grad_query = query.new_empty(N, H, C)
    grad_key, grad_value = key.new_empty(M, H, C), key.new_empty(M, H, C)
    grad_scale, grad_bias = lse.new_empty(T, H, C), lse.new_empty(T, H)
    grad_edge = lse.new_zeros(E * H) if want_edge_grad else None
    if E == 0:
        zeros = grad_query.zero_(), grad_key.zero_(), grad_value.zero_()
        return *zeros, grad_scale.zero_(), grad_bias.zero_(), grad_edge
    source, edge_type = inputs.source.contiguous(), inputs.edge_type.contiguous()
    (q, QN, QH), (g, GN, GH) = _neighbor_rows(query, grad)
    (k, KN, KH), (v, VN, VH) = _neighbor_rows(key, inputs.value)
    rows, formula = (q, k, v, g), _formula(inputs)
    constants = {
        **_constants(inputs),
        'QN': QN, 'QH': QH, 'KN': KN, 'KH': KH, 'VN': VN, 'VH': VH, 'GN': GN, 'GH': GH,
    }  # fmt: skip

    segments = _segments(indptr, N, E)
    tile = _tile(H, C, segments.degree, 4 if indptr is None else 1)
    grid, BH, BC = segments.grid(tile, H, PROGRAMS), tile.BH, tile.BC
    width = T * BH * (BC + 1)  # of one share
    shares = lse.new_empty(grid[0] * grid[1] * width)
    lse_delta = lse.new_empty(N, H, 2)
    extra_query = lse.new_empty(segments.num_cuts, H, C) if segments.num_cuts else None
    by_row = launch(
        triton_backward.backward_rows, tile.num_warps, K=_width(inputs), **constants, **tile.constants()
    )
    by_row(
        grid,
        (indptr, source, edge_type, *rows, *formula, out, lse,
         lse_delta, grad_query, extra_query, grad_edge, shares),
        *segments.sizes, inputs.logit_clamp,
    )  # fmt: skip

    columns = _segments(transpose.indptr, M, E)
    tile = _tile(H, C, columns.degree)
    extra_key = extra_value = None
    if columns.num_cuts:
        extra_key, extra_value = lse.new_empty(2, columns.num_cuts, H, C)
    by_column = launch(triton_backward.backward_columns, tile.num_warps, **constants, **tile.constants())
    by_column(
        columns.grid(tile, H),
        (transpose.indptr, transpose.target, transpose.edge_type, transpose.edge_id,
         *rows, *formula, lse_delta, grad_key, grad_value, extra_key, extra_value),
        *columns.sizes, inputs.logit_clamp,
    )  # fmt: skip

    finish = launch(triton_backward.finish, 8, S=SEGMENT, H=H, C=C, T=T, BH=BH, BC=BC, BP=SHARES, BW=NUMBERS)
    finish(
        (_ceil_div(width, NUMBERS) + segments.num_cuts + columns.num_cuts, grid[1], 1),
        (shares, grad_scale, grad_bias, indptr, grad_query, extra_query,
         transpose.indptr, grad_key, extra_key, grad_value, extra_value),
        grid[0], segments.num_cuts, N, N.bit_length(), M, M.bit_length(),
    )  # fmt: skip
    return grad_query, grad_key, grad_value, grad_scale, grad_bias, grad_edge

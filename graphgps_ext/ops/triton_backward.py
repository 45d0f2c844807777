"""The backward kernels of the attention operator for CUDA, in Triton; see `triton_kernels` for the tiles.

Two passes, both without atomics: by target row for the gradients of the query, the edge bias and the tables,
and through the transposed graph by source row for those of key and value. Both recompute the weights.
"""
# ruff: noqa: RUF005 - Triton's compiler knows no unpacking

from __future__ import annotations

import triton
import triton.language as tl

from graphgps_ext.ops.triton_kernels import (
    _bias_by_type,
    _by_type,
    _clamped,
    _edge_step,
    _edges,
    _line,
    _rows,
    _scaled,
)


@triton.jit
def _logit_gradient(logit, drift, row_lse, row_delta, ok, clamp, HAS_CLAMP: tl.constexpr):
    """(weight, gradient of logit / temperature) of each edge; 0 in empty slots."""
    if HAS_CLAMP:
        bound = (logit > clamp) | (logit < -clamp)
        logit = _clamped(logit, clamp)
    x = tl.where(ok, logit - row_lse, -float('inf'))
    # A weight is at most 1: huge logits are rounded otherwise here than in the forward pass.
    w = tl.exp(tl.where(x > 0, 0.0, x))
    g = w * (drift - row_delta)
    if HAS_CLAMP:
        g = tl.where(bound, 0.0, g)
    return w, g


@triton.jit
def _zeros_by_type(T: tl.constexpr, shape: tl.constexpr):
    # A tuple, not a fourth dimension: that would change the layout of every tensor it meets.
    zeros = ()
    for _t in tl.static_range(T):
        zeros = zeros + (tl.zeros(shape, tl.float32),)
    return zeros


@triton.jit
def _add_by_type(sums, kind, x, T: tl.constexpr):
    """sums[t] + x where the edge's type is t; x is [R, BE]."""
    new = ()
    for t in tl.static_range(T):
        new = new + (sums[t] + tl.where(kind == t, x, 0.0),)
    return new


@triton.jit
def _add_rows_by_type(sums, kind, x, rows, T: tl.constexpr):
    """sums[t] + x * rows where the edge's type is t; x is [R, BE], rows [R, BE, BC]."""
    new = ()
    for t in tl.static_range(T):
        new = new + (sums[t] + tl.where(kind == t, x, 0.0)[:, :, None] * rows,)
    return new


@triton.jit
def backward_rows(
    indptr, source, edge_type, extra_ptr, extra_row, num_rows, num_segments, S, num_tiles,
    query, key, value, grad, scale, bias, edge_bias, inv_temperature, clamp, out, lse,
    lse_delta, grad_query, extra_grad_query, grad_edge, grad_scale, grad_bias,
    K: tl.constexpr, H: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
    HAS_BIAS: tl.constexpr, HAS_CLAMP: tl.constexpr, EDGE_GRAD: tl.constexpr,
    QN: tl.constexpr, QH: tl.constexpr, KN: tl.constexpr, KH: tl.constexpr,
    VN: tl.constexpr, VH: tl.constexpr,
    GN: tl.constexpr, GH: tl.constexpr,
    BN: tl.constexpr, BH: tl.constexpr, BE: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """delta = grad . out, the query's and the edges' gradients, and this program's share of the tables'.

    sum_e gradient_e * key_e is kept per type: it gives both the query's gradient (times the table) and the
    table's (times the query), so the tables cost no work per edge.
    """
    line, head = _line(H, BN, BH)
    c = tl.arange(0, BC)
    channel = (c < C)[None, :]
    sum_scale = _zeros_by_type(T, [BN * BH, BC])
    sum_bias = _zeros_by_type(T, [BN * BH, BE])
    segment = tl.program_id(0).to(tl.int64) * BN + line
    for _tile in range(tl.program_id(0), num_tiles, tl.num_programs(0)):
        row, begin, end, longest, live = _edges(
            segment, head, indptr, extra_ptr, extra_row, num_rows, num_segments, H, K, S
        )
        # A row without edges has no gradient, and its query may hold anything.
        used = (live & (begin < end))[:, None] & channel
        place = row * H + head
        q = _rows(query, row, head, c, used, QN, QH)
        go = _rows(grad, row, head, c, used, GN, GH)
        o = tl.load(out + (place * C)[:, None] + c, mask=used, other=0.0).to(tl.float32)
        row_delta = tl.sum(go * o, 1)
        row_lse = tl.load(lse + place, mask=live, other=0.0)
        queries = _scaled(_by_type(scale, head, c, used, H, C, T), q, T)
        biases = _bias_by_type(bias, head, live, H, T)
        by_type = _zeros_by_type(T, [BN * BH, BE, BC])
        any_edge = tl.zeros([BN * BH, BE], tl.int1)
        for e in range(0, longest, BE):
            position, _, ok, _, kind, k, _, v, logit = _edge_step(
                e, begin, end, live, source, edge_type, None, key, value, None, queries, biases, edge_bias,
                inv_temperature, head, c, H, C, T, HAS_BIAS, BE, KN, KH, VN, VH,
            )  # fmt: skip
            any_edge = any_edge | ok
            drift = tl.sum(go[:, None, :] * v, 2)
            _w, g = _logit_gradient(logit, drift, row_lse[:, None], row_delta[:, None], ok, clamp, HAS_CLAMP)
            if EDGE_GRAD:
                tl.store(grad_edge + position * H + head[:, None], g * inv_temperature, mask=ok)
            sum_bias = _add_by_type(sum_bias, kind, g, T)
            by_type = _add_rows_by_type(by_type, kind, g, k, T)
        # Rows of empty slots only: 0 times an unread query must stay 0.
        q = tl.where((tl.max(any_edge.to(tl.int32), 1) > 0)[:, None], q, 0.0)
        grad_q = tl.zeros([BN * BH, BC], tl.float32)
        factors = _by_type(scale, head, c, used, H, C, T)  # again: keeping them would cost registers
        new_scale = ()
        for t in tl.static_range(T):
            part = tl.sum(by_type[t], 1)
            grad_q += part * factors[t]
            new_scale = new_scale + (sum_scale[t] + part * q,)
        sum_scale = new_scale
        first = segment < num_rows
        # Side by side, so that the pass over columns finds both in one sector.
        tl.store(lse_delta + place * 2, row_lse, mask=live & first)
        tl.store(lse_delta + place * 2 + 1, row_delta, mask=live & first)
        store = live[:, None] & channel
        tl.store(grad_query + (place * C)[:, None] + c, grad_q, mask=store & first[:, None])
        if K == 0:
            place = (segment - num_rows) * H + head
            tl.store(extra_grad_query + (place * C)[:, None] + c, grad_q, mask=store & ~first[:, None])
        segment += tl.num_programs(0) * BN

    # One share [T, BH, BC] per program and group of heads: the host adds them in float64.
    share = tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    h = tl.arange(0, BH)
    for t in tl.static_range(T):
        place = (share * T + t) * BH + h
        tl.store(grad_bias + place, tl.sum(tl.reshape(tl.sum(sum_bias[t], 1), [BN, BH]), 0))
        scale_share = tl.sum(tl.reshape(sum_scale[t], [BN, BH, BC]), 0)
        tl.store(grad_scale + (place * BC)[:, None] + c, scale_share)


@triton.jit
def backward_columns(
    indptr, target, edge_type, edge_id, extra_ptr, extra_row, num_rows, num_segments, S,
    query, key, value, grad, scale, bias, edge_bias, inv_temperature, clamp, lse_delta,
    grad_key, grad_value, extra_grad_key, extra_grad_value,
    H: tl.constexpr, C: tl.constexpr, T: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_CLAMP: tl.constexpr,
    QN: tl.constexpr, QH: tl.constexpr, KN: tl.constexpr, KH: tl.constexpr,
    VN: tl.constexpr, VH: tl.constexpr,
    GN: tl.constexpr, GH: tl.constexpr,
    BN: tl.constexpr, BH: tl.constexpr, BE: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Gradients of the keys and values of every segment of a source's out-edges."""
    line, head = _line(H, BN, BH)
    segment = tl.program_id(0).to(tl.int64) * BN + line
    row, begin, end, longest, live = _edges(
        segment, head, indptr, extra_ptr, extra_row, num_rows, num_segments, H, 0, S
    )
    c = tl.arange(0, BC)
    used = (live & (begin < end))[:, None] & (c < C)[None, :]
    k = _rows(key, row, head, c, used, KN, KH)
    v = _rows(value, row, head, c, used, VN, VH)
    factors = _by_type(scale, head, c, used, H, C, T)
    biases = _bias_by_type(bias, head, live, H, T)
    total_key = tl.zeros([BN * BH, BE, BC], tl.float32)
    total_value = tl.zeros([BN * BH, BE, BC], tl.float32)
    for e in range(0, longest, BE):
        _, _, ok, i, _, _, q, go, logit = _edge_step(
            e, begin, end, live, target, edge_type, edge_id, query, grad, k, factors, biases, edge_bias,
            inv_temperature, head, c, H, C, T, HAS_BIAS, BE, QN, QH, GN, GH,
        )  # fmt: skip
        drift = tl.sum(v[:, None, :] * go, 2)
        place = (i * H + head[:, None]) * 2
        row_lse = tl.load(lse_delta + place, mask=ok, other=0.0)
        row_delta = tl.load(lse_delta + place + 1, mask=ok, other=0.0)
        w, g = _logit_gradient(logit, drift, row_lse, row_delta, ok, clamp, HAS_CLAMP)
        total_key += g[:, :, None] * q
        total_value += w[:, :, None] * go
    result_key, result_value = tl.sum(total_key, 1), tl.sum(total_value, 1)
    first = segment < num_rows
    store = live[:, None] & (c < C)[None, :]
    place = ((row * H + head) * C)[:, None] + c
    tl.store(grad_key + place, result_key, mask=store & first[:, None])
    tl.store(grad_value + place, result_value, mask=store & first[:, None])
    place = (((segment - num_rows) * H + head) * C)[:, None] + c
    tl.store(extra_grad_key + place, result_key, mask=store & ~first[:, None])
    tl.store(extra_grad_value + place, result_value, mask=store & ~first[:, None])

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
    _first_cut,
    _line,
    _rows,
    _scaled,
)


@triton.jit
def _logit_gradient(logit, drift, row_lse, row_delta, ok, clamp, HAS_CLAMP: tl.constexpr):
    """(weight, gradient of the logit) of each edge; 0 in empty slots."""
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


@triton.jit(do_not_specialize=['num_rows', 'num_segments', 'steps'])
def backward_rows(
    indptr, source, edge_type, query, key, value, grad, scale, bias, edge_bias, out, lse,
    lse_delta, grad_query, extra, grad_edge, shares,
    num_rows, num_segments, steps, clamp,
    K: tl.constexpr, S: tl.constexpr, H: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
    FACTOR: tl.constexpr, HAS_CLAMP: tl.constexpr,
    QN: tl.constexpr, QH: tl.constexpr, KN: tl.constexpr, KH: tl.constexpr,
    VN: tl.constexpr, VH: tl.constexpr, GN: tl.constexpr, GH: tl.constexpr,
    BN: tl.constexpr, BH: tl.constexpr, BE: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """delta = grad . out, the query's and the edges' gradients, and this program's share of the tables'.

    sum_e gradient_e * key_e is kept per type: it gives both the query's gradient (times the table) and the
    table's (times the query), so the tables cost no work per edge. Cuts leave the query's in `extra`
    [*, H, C].
    """
    line, head = _line(H, BN, BH)
    c = tl.arange(0, BC)
    channel = (c < C)[None, :]
    sum_scale = _zeros_by_type(T, [BN * BH, BC])
    sum_bias = _zeros_by_type(T, [BN * BH, BE])
    first = tl.program_id(0).to(tl.int64) * BN
    for _tile in range(tl.program_id(0), tl.cdiv(num_segments, BN), tl.num_programs(0)):
        row, begin, end, longest, live = _edges(
            first, line, head, indptr, num_rows, num_segments, steps, H, K, S, BN
        )
        # A row without edges has no gradient, and its query may hold anything.
        used = (live & (begin < end))[:, None] & channel
        place = row * H + head
        q = _rows(query, row, head, c, used, QN, QH)
        go = _rows(grad, row, head, c, used, GN, GH)
        o = tl.load(out + (place * C)[:, None] + c, mask=used, other=0.0).to(tl.float32)
        row_delta = tl.sum(go * o, 1)
        row_lse = tl.load(lse + place, mask=live, other=0.0)
        queries = _scaled(_by_type(scale, head, c, used, H, C, T, FACTOR), q, T)
        biases = _bias_by_type(bias, head, live, H, T)
        by_type = _zeros_by_type(T, [BN * BH, BE, BC])
        any_edge = tl.zeros([BN * BH, BE], tl.int1)
        for e in range(0, longest, BE):
            position, _, ok, _, kind, k, _, v, logit = _edge_step(
                e, begin, end, live, source, edge_type, None, key, value, None, queries, biases, edge_bias,
                head, c, H, C, T, BE, KN, KH, VN, VH,
            )  # fmt: skip
            any_edge = any_edge | ok
            drift = tl.sum(go[:, None, :] * v, 2)
            _w, g = _logit_gradient(logit, drift, row_lse[:, None], row_delta[:, None], ok, clamp, HAS_CLAMP)
            if grad_edge is not None:
                tl.store(grad_edge + position * H + head[:, None], g, mask=ok)
            sum_bias = _add_by_type(sum_bias, kind, g, T)
            by_type = _add_rows_by_type(by_type, kind, g, k, T)
        # Rows of empty slots only: 0 times an unread query must stay 0.
        q = tl.where((tl.max(any_edge.to(tl.int32), 1) > 0)[:, None], q, 0.0)
        grad_q = tl.zeros([BN * BH, BC], tl.float32)
        factors = _by_type(scale, head, c, used, H, C, T, FACTOR)  # again: keeping them would cost registers
        new_scale = ()
        for t in tl.static_range(T):
            part = tl.sum(by_type[t], 1)
            grad_q += part * factors[t]
            new_scale = new_scale + (sum_scale[t] + part * q,)
        sum_scale = new_scale
        leads = live & (first + line < num_rows)
        # Side by side, so that the pass over columns finds both in one sector.
        tl.store(lse_delta + place * 2, row_lse, mask=leads)
        tl.store(lse_delta + place * 2 + 1, row_delta, mask=leads)
        tl.store(grad_query + (place * C)[:, None] + c, grad_q, mask=leads[:, None] & channel)
        if extra is not None:
            follows = live & (first + line >= num_rows)
            place = (first + line - num_rows) * H + head
            tl.store(extra + (place * C)[:, None] + c, grad_q, mask=follows[:, None] & channel)
        first += tl.num_programs(0) * BN

    # The share of this program and group of heads: [T, BH, BC] of `scale`, then [T, BH] of `bias`.
    share = shares + (tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)) * T * BH * (
        BC + 1
    )
    h = tl.arange(0, BH)
    for t in tl.static_range(T):
        scale_share = tl.sum(tl.reshape(sum_scale[t], [BN, BH, BC]), 0)
        tl.store(share + ((t * BH + h) * BC)[:, None] + c, scale_share)
        bias_share = tl.sum(tl.reshape(tl.sum(sum_bias[t], 1), [BN, BH]), 0)
        tl.store(share + T * BH * BC + t * BH + h, bias_share)


@triton.jit(do_not_specialize=['num_rows', 'num_segments', 'steps'])
def backward_columns(
    indptr, target, edge_type, edge_id, query, key, value, grad, scale, bias, edge_bias, lse_delta,
    grad_key, grad_value, extra_key, extra_value,
    num_rows, num_segments, steps, clamp,
    S: tl.constexpr, H: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
    FACTOR: tl.constexpr, HAS_CLAMP: tl.constexpr,
    QN: tl.constexpr, QH: tl.constexpr, KN: tl.constexpr, KH: tl.constexpr,
    VN: tl.constexpr, VH: tl.constexpr, GN: tl.constexpr, GH: tl.constexpr,
    BN: tl.constexpr, BH: tl.constexpr, BE: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Gradients of the keys and values of every segment of a source's out-edges.

    Cuts leave theirs in `extra_key` and `extra_value` [*, H, C], float32.
    """
    line, head = _line(H, BN, BH)
    first = tl.program_id(0).to(tl.int64) * BN
    row, begin, end, longest, live = _edges(
        first, line, head, indptr, num_rows, num_segments, steps, H, 0, S, BN
    )
    c = tl.arange(0, BC)
    used = (live & (begin < end))[:, None] & (c < C)[None, :]
    k = _rows(key, row, head, c, used, KN, KH)
    v = _rows(value, row, head, c, used, VN, VH)
    factors = _by_type(scale, head, c, used, H, C, T, FACTOR)
    biases = _bias_by_type(bias, head, live, H, T)
    total_key = tl.zeros([BN * BH, BE, BC], tl.float32)
    total_value = tl.zeros([BN * BH, BE, BC], tl.float32)
    for e in range(0, longest, BE):
        _, _, ok, i, _, _, q, go, logit = _edge_step(
            e, begin, end, live, target, edge_type, edge_id, query, grad, k, factors, biases, edge_bias,
            head, c, H, C, T, BE, QN, QH, GN, GH,
        )  # fmt: skip
        drift = tl.sum(v[:, None, :] * go, 2)
        place = (i * H + head[:, None]) * 2
        row_lse = tl.load(lse_delta + place, mask=ok, other=0.0)
        row_delta = tl.load(lse_delta + place + 1, mask=ok, other=0.0)
        w, g = _logit_gradient(logit, drift, row_lse, row_delta, ok, clamp, HAS_CLAMP)
        total_key += g[:, :, None] * q
        total_value += w[:, :, None] * go
    result_key, result_value = tl.sum(total_key, 1), tl.sum(total_value, 1)
    channel = (c < C)[None, :]
    leads = (live & (first + line < num_rows))[:, None] & channel
    place = ((row * H + head) * C)[:, None] + c
    tl.store(grad_key + place, result_key, mask=leads)
    tl.store(grad_value + place, result_value, mask=leads)
    if extra_key is not None:
        follows = (live & (first + line >= num_rows))[:, None] & channel
        place = (((first + line - num_rows) * H + head) * C)[:, None] + c
        tl.store(extra_key + place, result_key, mask=follows)
        tl.store(extra_value + place, result_value, mask=follows)


@triton.jit
def _sum_shares(
    n, group, shares, grad_scale, grad_bias, num_shares,
    H, C, T, BH: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """The n-th BW numbers of the tables' gradients: adds the programs' shares in float64, BP at a time."""
    width = T * BH * (BC + 1)
    at = n * BW + tl.arange(0, BW)
    total = tl.zeros([BP, BW], tl.float64)
    for p in range(0, num_shares, BP):
        share = p + tl.arange(0, BP).to(tl.int64)
        place = (share * tl.num_programs(1) + group) * width
        there = (share < num_shares)[:, None] & (at < width)[None, :]
        total += tl.load(shares + place[:, None] + at, mask=there, other=0.0).to(tl.float64)
    result = tl.sum(total, 0)
    of_scale = at < T * BH * BC
    line = tl.where(of_scale, at // BC, at - T * BH * BC)  # t * BH + h
    head = group * BH + line % BH
    place = line // BH * H + head
    c = at % BC
    root = tl.sqrt(tl.full([BW], C, tl.float64))
    tl.store(grad_scale + place * C + c, result / root, mask=of_scale & (head < H) & (c < C))
    tl.store(grad_bias + place, result, mask=(at < width) & ~of_scale & (head < H))


@triton.jit
def _merge_sums(
    n, group, indptr, num_rows, steps, total, extra, other_total, other_extra,
    S: tl.constexpr, H, C, BH: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """If the n-th cut is its row's first: adds what the row's cuts left to its sums, of one tensor or two."""
    first = n.to(tl.int64)
    row, stop, merges = _first_cut((first + 1) * S, indptr, num_rows, steps, S)
    if merges:
        head = group * BH + tl.arange(0, BH)
        c = tl.arange(0, BC)
        used = (head < H)[:, None] & (c < C)[None, :]
        last = (stop - 1) // S
        _add_rows(total, extra, row, first, last, head, c, used, H, C)
        if other_total is not None:
            _add_rows(other_total, other_extra, row, first, last, head, c, used, H, C)


@triton.jit
def _add_rows(total, extra, row, first, last, head, c, used, H, C):
    """total[row] += the sum of extra[first:last], one after the other."""
    place = ((row * H + head) * C)[:, None] + c
    x = tl.load(total + place, mask=used, other=0.0).to(tl.float32)
    for n in range(first, last):
        x += tl.load(extra + ((n * H + head) * C)[:, None] + c, mask=used, other=0.0)
    tl.store(total + place, x, mask=used)


@triton.jit(do_not_specialize=['num_shares', 'num_cuts', 'num_rows', 'steps', 'num_sources', 'source_steps'])
def finish(
    shares, grad_scale, grad_bias, indptr, grad_query, extra_query,
    out_indptr, grad_key, extra_key, grad_value, extra_value,
    num_shares, num_cuts, num_rows, steps, num_sources, source_steps,
    S: tl.constexpr, H: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
    BH: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """What both passes leave: the shares of the tables' gradients, and rows of several segments.

    One launch for all, because a launch costs the host more than all this the device.
    """
    n, group = tl.program_id(0), tl.program_id(1)
    num_sums = tl.cdiv(T * BH * (BC + 1), BW)
    if n < num_sums:
        _sum_shares(n, group, shares, grad_scale, grad_bias, num_shares, H, C, T, BH, BC, BP, BW)
    elif n < num_sums + num_cuts:
        if extra_query is not None:
            _merge_sums(
                n - num_sums, group, indptr, num_rows, steps, grad_query, extra_query, None, None,
                S, H, C, BH, BC,
            )  # fmt: skip
    else:
        if extra_key is not None:
            _merge_sums(
                n - num_sums - num_cuts, group, out_indptr, num_sources, source_steps,
                grad_key, extra_key, grad_value, extra_value, S, H, C, BH, BC,
            )  # fmt: skip

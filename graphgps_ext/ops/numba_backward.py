"""The attention operator's backward pass for the CPU, compiled by numba; see `numba_kernels` for the arrays.

The weights are recomputed from the log-sum-exp. The gradient of the query keeps sum_e gradient_e * key_e
apart for each type, which also gives the tables' gradients: they cost no work per edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, uint64

from graphgps_ext.ops.numba_kernels import (
    AHEAD,
    BLOCK,
    NARROW,
    dot,
    dots,
    exp,
    finish_logits,
    prefetch_rows,
    type_products,
    weighted_sum,
)
from graphgps_ext.ops.numba_threads import kernel

LANES = 2  # sums which take edges in turn: through memory, one sum would wait for itself


@kernel(inline=True)
def weighted_sum_by_type(
    total: Any, w: Any, ids: Any, kinds: Any, m: Any, b: Any, b_start: Any, b_node: Any, C: Any, T: Any
) -> None:  # fmt: skip
    """total[lane, t, c] = sum of w[p] * b[ids[p], c] over the edges of type t; their lanes add up to it."""
    for c in range(LANES * T * C):
        total[uint64(c)] = float32(0.0)
    if C < NARROW:
        whole = C - C % 4
        for p in range(m):
            at = uint64(((p % LANES) * T + kinds[p]) * C)
            bt = b_start + uint64(ids[p]) * b_node
            for c in range(0, whole, 4):
                u = uint64(c)
                total[at + u] += w[p] * b[bt + u]
                total[at + u + uint64(1)] += w[p] * b[bt + u + uint64(1)]
                total[at + u + uint64(2)] += w[p] * b[bt + u + uint64(2)]
                total[at + u + uint64(3)] += w[p] * b[bt + u + uint64(3)]
            for c in range(whole, C):
                total[at + uint64(c)] += w[p] * b[bt + uint64(c)]
    else:
        for p in range(m):
            at = uint64(((p % LANES) * T + kinds[p]) * C)
            bt = b_start + uint64(ids[p]) * b_node
            for c in range(C):
                total[at + uint64(c)] += w[p] * b[bt + uint64(c)]


@kernel(inline=True)
def logit_gradients(logits: Any, drifts: Any, lses: Any, deltas: Any, m: Any, clamp: Any) -> None:
    """Turn logits into weights and drifts (output gradient . value) into gradients of logit / temperature."""
    for p in range(m):
        x = logits[p]
        y = clamp if x > clamp else x
        y = -clamp if y < -clamp else y
        w = exp(y - lses[p])
        logits[p] = w
        g = w * (drifts[p] - deltas[p])
        drifts[p] = float32(0.0) if (x > clamp or x < -clamp) else g  # a NaN stays


@kernel()
def backward_rows(
    first: Any, last: Any, indptr: Any, source: Any, edge_type: Any, num_types: Any, ahead: Any,
    query: Any, query_node: Any, query_head: Any, key: Any, key_node: Any, key_head: Any,
    value: Any, value_node: Any, value_head: Any, grad: Any, grad_node: Any, grad_head: Any,
    scale: Any, bias: Any, edge_bias: Any, inv_temperature: Any, clamp: Any, H: Any, C: Any,
    out: Any, lse: Any, delta: Any, grad_query: Any, grad_edge: Any, grad_scale: Any, grad_bias: Any,
) -> None:  # fmt: skip
    """Gradients of target rows first..last: the query's, the edges', this chunk's share of the tables'."""
    d = H * C
    T = num_types
    last_edge = indptr[last] - 1
    ids = np.empty(BLOCK, np.int64)
    kinds = np.empty(BLOCK, np.int64)
    edges = np.empty(BLOCK, np.int64)
    zeros = np.zeros(BLOCK, np.int64)
    logits = np.empty(BLOCK, np.float32)
    drifts = np.empty(BLOCK, np.float32)
    lses = np.empty(BLOCK, np.float32)
    deltas = np.empty(BLOCK, np.float32)
    scaled = np.empty(T * d, np.float32)
    part = np.empty(LANES * T * C, np.float32)
    total = np.empty(d, np.float64)
    for i in range(first, last):
        begin = indptr[i]
        n = indptr[i + 1] - begin
        query_start = uint64(i) * query_node
        grad_start = uint64(i) * grad_node
        total[:] = 0.0
        if n > 0:
            type_products(scaled, query, query_start, query_head, scale, T, H, C)
        for h in range(H):
            delta[i * H + h] = float32(0.0)
            if n > 0:
                delta[i * H + h] = dot(grad, grad_start + uint64(h) * grad_head, out, uint64(i * d + h * C), C)
        for b in range(begin, begin + n, BLOCK):
            m = 0
            for e in range(b, min(b + BLOCK, begin + n)):
                j = int64(source[e])
                ids[m] = j
                kinds[m] = int64(edge_type[e])
                edges[m] = e
                m += j >= 0
            if m == 0:
                continue
            if ahead:
                for e in range(b, min(b + BLOCK, begin + n)):
                    j = int64(source[min(e + AHEAD, last_edge)])
                    if j >= 0:
                        prefetch_rows(key, j, key_node, key_head, H, C)
                        prefetch_rows(value, j, value_node, value_head, H, C)
            for h in range(H):
                key_start = uint64(h) * key_head
                dots(logits, ids, kinds, m, scaled, uint64(h * C), uint64(d), key, key_start, key_node, C)
                finish_logits(logits, kinds, edges, m, h, H, bias, edge_bias, inv_temperature)
                dots(
                    drifts, ids, zeros, m, grad, grad_start + uint64(h) * grad_head, uint64(0),
                    value, uint64(h) * value_head, value_node, C,
                )  # fmt: skip
                lses[:m] = lse[i * H + h]
                deltas[:m] = delta[i * H + h]
                logit_gradients(logits, drifts, lses, deltas, m, clamp)
                if grad_edge.size > 0:
                    for p in range(m):
                        grad_edge[uint64(edges[p]) * uint64(H) + uint64(h)] = drifts[p] * inv_temperature
                weighted_sum_by_type(part, drifts, ids, kinds, m, key, key_start, key_node, C, T)
                for t in range(T):
                    share = float32(0.0)
                    for p in range(m):
                        share += drifts[p] if kinds[p] == t else float32(0.0)
                    grad_bias[t * H + h] += share
                    for c in range(C):
                        at = uint64((t * H + h) * C + c)
                        x = part[uint64(t * C + c)] + part[uint64((T + t) * C + c)]
                        total[uint64(h * C + c)] += scale[at] * x
                        grad_scale[at] += np.float64(query[query_start + uint64(h) * query_head + uint64(c)]) * x
        for c in range(d):
            grad_query[uint64(i * d + c)] = float32(total[c])


@kernel()
def backward_columns(
    first: Any, last: Any, indptr: Any, target: Any, edge_type: Any, edge_id: Any, num_types: Any, ahead: Any,
    query: Any, query_node: Any, query_head: Any, key: Any, key_node: Any, key_head: Any,
    value: Any, value_node: Any, value_head: Any, grad: Any, grad_node: Any, grad_head: Any,
    scale: Any, bias: Any, edge_bias: Any, inv_temperature: Any, clamp: Any, H: Any, C: Any,
    lse: Any, delta: Any, grad_key: Any, grad_value: Any,
) -> None:  # fmt: skip
    """Gradients of the keys and values of source rows first..last, over the transpose: one writer per row."""
    d = H * C
    T = num_types
    last_edge = indptr[last] - 1
    ids = np.empty(BLOCK, np.int64)
    kinds = np.empty(BLOCK, np.int64)
    edges = np.zeros(BLOCK, np.int64)
    zeros = np.zeros(BLOCK, np.int64)
    weights = np.empty(BLOCK, np.float32)
    drifts = np.empty(BLOCK, np.float32)
    lses = np.empty(BLOCK, np.float32)
    deltas = np.empty(BLOCK, np.float32)
    scaled = np.empty(T * d, np.float32)
    part = np.empty(LANES * T * C, np.float32)
    total_key = np.empty(d, np.float64)
    total_value = np.empty(d, np.float64)
    for j in range(first, last):
        begin = indptr[j]
        n = indptr[j + 1] - begin
        total_key[:] = 0.0
        total_value[:] = 0.0
        if n > 0:
            type_products(scaled, key, uint64(j) * key_node, key_head, scale, T, H, C)
        for b in range(begin, begin + n, BLOCK):
            m = min(BLOCK, begin + n - b)
            for p in range(m):
                ids[p] = int64(target[uint64(b + p)])
                kinds[p] = int64(edge_type[uint64(b + p)])
            if edge_bias.size > 0:
                for p in range(m):
                    edges[p] = int64(edge_id[uint64(b + p)])
            if ahead:
                for e in range(b, b + m):
                    i = int64(target[min(e + AHEAD, last_edge)])
                    prefetch_rows(query, i, query_node, query_head, H, C)
                    prefetch_rows(grad, i, grad_node, grad_head, H, C)
                    prefetch_rows(lse, i, uint64(H), uint64(1), 1, 1)
                    prefetch_rows(delta, i, uint64(H), uint64(1), 1, 1)
            for h in range(H):
                query_start = uint64(h) * query_head
                grad_start = uint64(h) * grad_head
                dots(
                    weights, ids, kinds, m, scaled, uint64(h * C), uint64(d), query, query_start, query_node, C
                )
                finish_logits(weights, kinds, edges, m, h, H, bias, edge_bias, inv_temperature)
                dots(
                    drifts, ids, zeros, m, value, uint64(j) * value_node + uint64(h) * value_head, uint64(0),
                    grad, grad_start, grad_node, C,
                )  # fmt: skip
                for p in range(m):
                    at = uint64(ids[p]) * uint64(H) + uint64(h)
                    lses[p] = lse[at]
                    deltas[p] = delta[at]
                logit_gradients(weights, drifts, lses, deltas, m, clamp)
                weighted_sum_by_type(part, drifts, ids, kinds, m, query, query_start, query_node, C, T)
                for t in range(T):
                    for c in range(C):
                        x = part[uint64(t * C + c)] + part[uint64((T + t) * C + c)]
                        total_key[uint64(h * C + c)] += scale[uint64((t * H + h) * C + c)] * x
                weighted_sum(part, weights, ids, m, grad, grad_start, grad_node, C)
                for c in range(C):
                    total_value[uint64(h * C + c)] += part[uint64(c)]
        for c in range(d):
            grad_key[uint64(j * d + c)] = float32(total_key[c])
            grad_value[uint64(j * d + c)] = float32(total_value[c])

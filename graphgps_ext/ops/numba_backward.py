"""The attention operator's backward pass for the CPU, compiled by numba; see `numba_kernels` for the arrays.

The weights are recomputed from the log-sum-exp. The gradient of the query keeps sum_e gradient_e * key_e
apart for each type, which also gives the tables' gradients: they cost no work per edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, uint64

from graphgps_ext.ops.numba_kernels import AHEAD, BLOCK, LANES, clamped, exp, prefetch_rows, type_products
from graphgps_ext.ops.numba_threads import kernel
from graphgps_ext.ops.numba_vectors import add_scaled, dot


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
    logits = np.empty(H * BLOCK, np.float32)
    drifts = np.empty(H * BLOCK, np.float32)
    scaled = np.empty(T * d, np.float32)
    part = np.empty(LANES * T * d, np.float32)
    part_bias = np.empty(T * H, np.float32)
    total = np.empty(d, np.float64)
    for i in range(first, last):
        begin = indptr[i]
        end = indptr[i + 1]
        query_start = uint64(i) * query_node
        grad_start = uint64(i) * grad_node
        total[:] = 0.0
        if end > begin:
            type_products(scaled, query, query_start, query_head, scale, T, H, C)
        for h in range(H):
            delta[i * H + h] = float32(0.0)
            if end > begin:
                delta[i * H + h] = dot(grad, grad_start + uint64(h) * grad_head, out, uint64(i * d + h * C), C)
        for b in range(begin, end, BLOCK):
            m = min(BLOCK, end - b)
            used = 0
            for p in range(m):
                e = b + p
                if ahead:
                    j = int64(source[min(e + AHEAD, last_edge)])
                    if j >= 0:
                        prefetch_rows(key, j, key_node, key_head, H, C)
                        prefetch_rows(value, j, value_node, value_head, H, C)
                j = int64(source[uint64(e)])
                if j < 0:
                    for h in range(H):
                        logits[uint64(h * BLOCK + p)] = -np.inf
                        drifts[uint64(h * BLOCK + p)] = float32(0.0)
                    continue
                used += 1
                t = int64(edge_type[uint64(e)])
                for h in range(H):
                    at = t * H + h
                    logit = bias[uint64(at)] + dot(
                        scaled, uint64(at * C), key, uint64(j) * key_node + uint64(h) * key_head, C
                    )
                    if edge_bias.size > 0:
                        logit += edge_bias[uint64(e * H + h)] * inv_temperature
                    logits[uint64(h * BLOCK + p)] = logit
                    drifts[uint64(h * BLOCK + p)] = dot(
                        grad, grad_start + uint64(h) * grad_head,
                        value, uint64(j) * value_node + uint64(h) * value_head, C,
                    )  # fmt: skip
            if used == 0:
                continue
            for h in range(H):
                row_lse = lse[i * H + h]
                row_delta = delta[i * H + h]
                for p in range(m):
                    at_p = uint64(h * BLOCK + p)
                    x = logits[at_p]
                    g = exp(clamped(x, clamp) - row_lse) * (drifts[at_p] - row_delta)
                    # An empty slot's -inf counts as clamped; a NaN stays.
                    drifts[at_p] = float32(0.0) if (x > clamp or x < -clamp) else g
            part[:] = float32(0.0)
            part_bias[:] = float32(0.0)
            for p in range(m):
                e = b + p
                j = int64(source[uint64(e)])
                if j < 0:
                    continue
                t = int64(edge_type[uint64(e)])
                lane = (p % LANES) * T
                for h in range(H):
                    g = drifts[uint64(h * BLOCK + p)]
                    part_bias[uint64(t * H + h)] += g
                    add_scaled(
                        part, uint64(((lane + t) * H + h) * C), g,
                        key, uint64(j) * key_node + uint64(h) * key_head, C,
                    )  # fmt: skip
                    if grad_edge.size > 0:
                        grad_edge[uint64(e * H + h)] = g * inv_temperature
            for t in range(T):
                for h in range(H):
                    grad_bias[t * H + h] += part_bias[uint64(t * H + h)]
                    start = query_start + uint64(h) * query_head
                    for c in range(C):
                        at_c = uint64((t * H + h) * C + c)
                        x = part[at_c] + part[uint64(T * d) + at_c]
                        total[uint64(h * C + c)] += scale[at_c] * x
                        grad_scale[at_c] += np.float64(query[start + uint64(c)]) * x
        for c in range(d):
            grad_query[uint64(i * d + c)] = float32(total[uint64(c)])


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
    weights = np.empty(H * BLOCK, np.float32)
    drifts = np.empty(H * BLOCK, np.float32)
    lses = np.empty(H * BLOCK, np.float32)
    deltas = np.empty(H * BLOCK, np.float32)
    scaled = np.empty(T * d, np.float32)
    part_key = np.empty(LANES * T * d, np.float32)
    part_value = np.empty(LANES * d, np.float32)
    total_key = np.empty(d, np.float64)
    total_value = np.empty(d, np.float64)
    for j in range(first, last):
        begin = indptr[j]
        end = indptr[j + 1]
        value_start = uint64(j) * value_node
        total_key[:] = 0.0
        total_value[:] = 0.0
        if end > begin:
            type_products(scaled, key, uint64(j) * key_node, key_head, scale, T, H, C)
        for b in range(begin, end, BLOCK):
            m = min(BLOCK, end - b)
            for p in range(m):
                x_id = b + p
                if ahead:
                    i = int64(target[min(x_id + AHEAD, last_edge)])
                    prefetch_rows(query, i, query_node, query_head, H, C)
                    prefetch_rows(grad, i, grad_node, grad_head, H, C)
                    prefetch_rows(lse, i, uint64(H), uint64(1), 1, 1)
                    prefetch_rows(delta, i, uint64(H), uint64(1), 1, 1)
                i = int64(target[uint64(x_id)])
                t = int64(edge_type[uint64(x_id)])
                for h in range(H):
                    at = t * H + h
                    slot = uint64(h * BLOCK + p)
                    logit = bias[uint64(at)] + dot(
                        scaled, uint64(at * C), query, uint64(i) * query_node + uint64(h) * query_head, C
                    )
                    if edge_bias.size > 0:
                        e = int64(edge_id[uint64(x_id)])
                        logit += edge_bias[uint64(e * H + h)] * inv_temperature
                    weights[slot] = logit
                    drifts[slot] = dot(
                        value, value_start + uint64(h) * value_head,
                        grad, uint64(i) * grad_node + uint64(h) * grad_head, C,
                    )  # fmt: skip
                    lses[slot] = lse[uint64(i * H + h)]
                    deltas[slot] = delta[uint64(i * H + h)]
            for h in range(H):
                for p in range(m):
                    slot = uint64(h * BLOCK + p)
                    x = weights[slot]
                    w = exp(clamped(x, clamp) - lses[slot])
                    weights[slot] = w
                    g = w * (drifts[slot] - deltas[slot])
                    drifts[slot] = float32(0.0) if (x > clamp or x < -clamp) else g
            part_key[:] = float32(0.0)
            part_value[:] = float32(0.0)
            for p in range(m):
                x_id = b + p
                i = int64(target[uint64(x_id)])
                t = int64(edge_type[uint64(x_id)])
                lane = p % LANES
                for h in range(H):
                    slot = uint64(h * BLOCK + p)
                    add_scaled(
                        part_key, uint64(((lane * T + t) * H + h) * C), drifts[slot],
                        query, uint64(i) * query_node + uint64(h) * query_head, C,
                    )  # fmt: skip
                    add_scaled(
                        part_value, uint64((lane * H + h) * C), weights[slot],
                        grad, uint64(i) * grad_node + uint64(h) * grad_head, C,
                    )  # fmt: skip
            for t in range(T):
                for c in range(d):
                    at_c = uint64(t * d + c)
                    total_key[uint64(c)] += scale[at_c] * (part_key[at_c] + part_key[uint64(T * d) + at_c])
            for c in range(d):
                total_value[uint64(c)] += part_value[uint64(c)] + part_value[uint64(d + c)]
        for c in range(d):
            grad_key[uint64(j * d + c)] = float32(total_key[uint64(c)])
            grad_value[uint64(j * d + c)] = float32(total_value[uint64(c)])

"""The attention operator's backward pass for the CPU, compiled by numba; see `numba_kernels` for the arrays.

The weights are recomputed from the log-sum-exp. sum_e gradient_e * row_e is kept apart for each type: times
the table it gives the gradient of the query (or key), times the query that of the table, which so costs no
work per edge. Edges of one type are fastest when they stand together, as they do in the rows of this
package's graphs and in its transposes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, uint64

from graphgps_ext.ops.numba_kernels import (
    BLOCK,
    add_biases,
    clamped,
    exp,
    prefetch_neighbors,
    read_edges,
    type_products,
)
from graphgps_ext.ops.numba_threads import kernel
from graphgps_ext.ops.numba_vectors import add_weighted, dots


@kernel(inline=True)
def weight(logit: Any, lse: Any, clamp: Any) -> Any:
    """A weight is at most 1: huge logits are rounded otherwise here than in the forward pass."""
    x = clamped(logit, clamp) - lse
    return exp(float32(0.0) if x > float32(0.0) else x)


@kernel(inline=True)
def logit_gradient(logit: Any, w: Any, drift: Any, delta: Any, clamp: Any) -> Any:
    """Gradient of logit / temperature; zero where the clamp binds, NaN where the logit is NaN."""
    g = w * (drift - delta)
    return float32(0.0) if (logit > clamp or logit < -clamp) else g


@kernel()
def backward_rows(
    first: Any, last: Any, indptr: Any, source: Any, edge_type: Any, num_sources: Any, num_types: Any,
    ahead: Any, query: Any, query_node: Any, query_head: Any, key: Any, key_node: Any, key_head: Any,
    value: Any, value_node: Any, value_head: Any, grad: Any, grad_node: Any, grad_head: Any,
    scale: Any, bias: Any, edge_bias: Any, inv_temperature: Any, clamp: Any, H: Any, C: Any,
    out: Any, lse: Any, delta: Any, grad_query: Any, grad_edge: Any, grad_scale: Any, grad_bias: Any,
) -> None:  # fmt: skip
    """Gradients of target rows first..last: the query's, the edges', this chunk's share of the tables'."""
    d = H * C
    T = num_types
    last_edge = indptr[last] - 1
    keys = np.empty(BLOCK, np.uint64)
    values = np.empty(BLOCK, np.uint64)
    tables = np.empty(BLOCK, np.uint64)
    edges = np.empty(BLOCK, np.int64)
    zeros = np.zeros(BLOCK, np.uint64)
    logits = np.empty(BLOCK, np.float32)
    drifts = np.empty(BLOCK, np.float32)
    scaled = np.empty(T * d, np.float32)
    part = np.empty(T * d, np.float32)
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
            x = float32(0.0)
            if end > begin:
                for c in range(C):
                    x += grad[grad_start + uint64(h) * grad_head + uint64(c)] * out[uint64(i * d + h * C + c)]
            delta[i * H + h] = x
        for b in range(begin, end, BLOCK):
            n = min(BLOCK, end - b)
            m = read_edges(
                b, n, source, edge_type, num_sources, T, key_node, value_node, H, keys, values, tables, edges
            )
            if ahead:
                prefetch_neighbors(b, n, last_edge, source, key, key_node, key_head, H, C)
            if m <= 0:
                continue
            part[:] = float32(0.0)
            part_bias[:] = float32(0.0)
            for h in range(H):
                key_start = uint64(h) * key_head
                dots(logits, m, scaled, uint64(h * C), tables, uint64(C), key, key_start, keys, C)
                add_biases(logits, tables, edges, m, h, H, bias, edge_bias, inv_temperature)
                if ahead and h == 0:
                    prefetch_neighbors(b, n, last_edge, source, value, value_node, value_head, H, C)
                dots(
                    drifts, m, grad, grad_start + uint64(h) * grad_head, zeros, uint64(0),
                    value, uint64(h) * value_head, values, C,
                )  # fmt: skip
                row_lse = lse[i * H + h]
                row_delta = delta[i * H + h]
                for p in range(m):
                    w = weight(logits[p], row_lse, clamp)
                    drifts[p] = logit_gradient(logits[p], w, drifts[p], row_delta, clamp)
                if grad_edge.size > 0:
                    for p in range(m):
                        grad_edge[uint64(edges[p] * H + h)] = drifts[p] * inv_temperature
                p = 0
                while p < m:  # runs of one type
                    table = tables[p]
                    run = p
                    share = float32(0.0)
                    while p < m and tables[p] == table:
                        share += drifts[p]
                        p += 1
                    part_bias[table + uint64(h)] += share
                    at = (table + uint64(h)) * uint64(C)
                    add_weighted(part, at, drifts, run, p, key, key_start, keys, C)
            for t in range(T):
                for h in range(H):
                    grad_bias[t * H + h] += part_bias[uint64(t * H + h)]
                    start = query_start + uint64(h) * query_head
                    for c in range(C):
                        at = uint64((t * H + h) * C + c)
                        total[uint64(h * C + c)] += scale[at] * part[at]
                        grad_scale[at] += np.float64(query[start + uint64(c)]) * part[at]
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
    nodes = np.empty(BLOCK, np.int64)
    queries = np.empty(BLOCK, np.uint64)
    grads = np.empty(BLOCK, np.uint64)
    tables = np.empty(BLOCK, np.uint64)
    edges = np.zeros(BLOCK, np.int64)
    zeros = np.zeros(BLOCK, np.uint64)
    weights = np.empty(BLOCK, np.float32)
    drifts = np.empty(BLOCK, np.float32)
    lses = np.empty(BLOCK, np.float32)
    deltas = np.empty(BLOCK, np.float32)
    scaled = np.empty(T * d, np.float32)
    part_key = np.empty(T * d, np.float32)
    part_value = np.empty(d, np.float32)
    total_key = np.empty(d, np.float64)
    total_value = np.empty(d, np.float64)
    for j in range(first, last):
        begin = indptr[j]
        end = indptr[j + 1]
        total_key[:] = 0.0
        total_value[:] = 0.0
        if end > begin:
            type_products(scaled, key, uint64(j) * key_node, key_head, scale, T, H, C)
        for b in range(begin, end, BLOCK):
            m = min(BLOCK, end - b)
            for p in range(m):
                i = int64(target[uint64(b + p)])
                nodes[p] = i * H
                queries[p] = uint64(i) * query_node
                grads[p] = uint64(i) * grad_node
                tables[p] = uint64(edge_type[uint64(b + p)]) * uint64(H)
            if ahead:
                prefetch_neighbors(b, m, last_edge, target, query, query_node, query_head, H, C)
                prefetch_neighbors(b, m, last_edge, target, lse, uint64(H), uint64(1), 1, 1)
                prefetch_neighbors(b, m, last_edge, target, delta, uint64(H), uint64(1), 1, 1)
            if edge_bias.size > 0:
                for p in range(m):
                    edges[p] = int64(edge_id[uint64(b + p)])
            part_key[:] = float32(0.0)
            part_value[:] = float32(0.0)
            for h in range(H):
                query_start = uint64(h) * query_head
                grad_start = uint64(h) * grad_head
                dots(weights, m, scaled, uint64(h * C), tables, uint64(C), query, query_start, queries, C)
                add_biases(weights, tables, edges, m, h, H, bias, edge_bias, inv_temperature)
                if ahead and h == 0:
                    prefetch_neighbors(b, m, last_edge, target, grad, grad_node, grad_head, H, C)
                dots(
                    drifts, m, value, uint64(j) * value_node + uint64(h) * value_head, zeros, uint64(0),
                    grad, grad_start, grads, C,
                )  # fmt: skip
                for p in range(m):
                    lses[p] = lse[uint64(nodes[p] + h)]
                    deltas[p] = delta[uint64(nodes[p] + h)]
                for p in range(m):
                    x = weights[p]
                    weights[p] = weight(x, lses[p], clamp)
                    drifts[p] = logit_gradient(x, weights[p], drifts[p], deltas[p], clamp)
                p = 0
                while p < m:  # runs of one type
                    table = tables[p]
                    run = p
                    while p < m and tables[p] == table:
                        p += 1
                    at = (table + uint64(h)) * uint64(C)
                    add_weighted(part_key, at, drifts, run, p, query, query_start, queries, C)
                add_weighted(part_value, uint64(h * C), weights, 0, m, grad, grad_start, grads, C)
            for t in range(T):
                for c in range(d):
                    total_key[uint64(c)] += scale[uint64(t * d + c)] * part_key[uint64(t * d + c)]
            for c in range(d):
                total_value[uint64(c)] += part_value[uint64(c)]
        for c in range(d):
            grad_key[uint64(j * d + c)] = float32(total_key[uint64(c)])
            grad_value[uint64(j * d + c)] = float32(total_value[uint64(c)])

"""The attention operator's backward pass for the CPU, compiled by numba; see `numba_kernels` for the arrays.

The weights are recomputed from the log-sum-exp. sum_e gradient_e * row_e is kept apart for each type: times
the table it gives the gradient of the query (or key), times the query that of the table, which so costs no
work per edge. Edges of one type are fastest when they stand together, as they do in the rows of this
package's graphs and in its transposes.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, uint64

from graphgps_ext.ops.numba_kernels import (
    BLOCK,
    Formula,
    Graph,
    Rows,
    clamped,
    drifts_of_head,
    exp,
    logits_of_head,
    make_block,
    prefetch_rows,
    read_edges,
    type_products,
)
from graphgps_ext.ops.numba_threads import kernel
from graphgps_ext.ops.numba_vectors import add_weighted


@kernel(inline=True)
def weight(logit, lse, clamp):
    """A weight is at most 1: huge logits are rounded otherwise here than in the forward pass."""
    x = clamped(logit, clamp) - lse
    return exp(float32(0.0) if x > float32(0.0) else x)


@kernel(inline=True)
def logit_gradient(logit, w, drift, delta, clamp):
    """Gradient of the logit; zero where the clamp binds, NaN where the logit is NaN."""
    g = w * (drift - delta)
    return float32(0.0) if (logit > clamp or logit < -clamp) else g


@kernel()
def backward_rows(
    first, last, graph, query, key, value, grad, formula, out, lse,
    delta, grad_query, grad_edge, grad_scale, grad_bias,
):  # fmt: skip
    """Gradients of target rows first..last: the query's, the edges', this chunk's share of the tables'."""
    graph, formula = Graph(*graph), Formula(*formula)
    query, key, value, grad = Rows(*query), Rows(*key), Rows(*value), Rows(*grad)
    indptr, T = graph.indptr, graph.num_types
    H, C, scale = formula.H, formula.C, formula.scale
    d = H * C
    last_edge = indptr[last] - 1
    block = make_block()
    near, tables, edges, keys = block.near, block.tables, block.edges, key.flat
    logits, drifts = block.logits, block.drifts
    scaled = np.empty(T * d, np.float32)
    part = np.empty(T * d, np.float32)
    part_bias = np.empty(T * H, np.float32)
    total = np.empty(d, np.float64)
    for i in range(first, last):
        begin = indptr[i]
        end = indptr[i + 1]
        query_start = uint64(i) * query.node
        grad_start = uint64(i) * grad.node
        total[:] = 0.0
        if end > begin:
            type_products(scaled, query, i, graph, formula)
        for h in range(H):
            x = float32(0.0)
            if end > begin:
                at = grad_start + uint64(h) * grad.head
                for c in range(C):
                    x += grad.flat[at + uint64(c)] * out[uint64(i * d + h * C + c)]
            delta[i * H + h] = x
        for b in range(begin, end, BLOCK):
            n = min(BLOCK, end - b)
            m = read_edges(b, n, graph, key, value, formula, block)
            if graph.ahead:
                prefetch_rows(b, n, last_edge, graph, key, H, C)
            if m <= 0:
                continue
            part[:] = float32(0.0)
            part_bias[:] = float32(0.0)
            for h in range(H):
                logits_of_head(h, m, scaled, key, formula, block)
                if graph.ahead and h == 0:
                    prefetch_rows(b, n, last_edge, graph, value, H, C)
                drifts_of_head(h, m, grad, i, value, formula, block)
                row_lse = lse[i * H + h]
                row_delta = delta[i * H + h]
                for p in range(m):
                    x = logits[p]
                    w = weight(x, row_lse, formula.clamp)
                    drifts[p] = logit_gradient(x, w, drifts[p], row_delta, formula.clamp)
                if grad_edge.size > 0:
                    for p in range(m):
                        grad_edge[uint64(edges[p] * H + h)] = drifts[p]
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
                    add_weighted(part, at, drifts, run, p, keys, uint64(h) * key.head, near, C)
            for t in range(T):
                for h in range(H):
                    grad_bias[t * H + h] += part_bias[uint64(t * H + h)]
                    start = query_start + uint64(h) * query.head
                    for c in range(C):
                        at = uint64((t * H + h) * C + c)
                        total[uint64(h * C + c)] += scale[at] * part[at]
                        grad_scale[at] += np.float64(query.flat[start + uint64(c)]) * part[at]
        for c in range(d):
            grad_query[uint64(i * d + c)] = float32(total[uint64(c)])


@kernel()
def backward_columns(
    first, last, graph, edge_id, query, key, value, grad, formula, lse, delta, grad_key, grad_value
):  # fmt: skip
    """Gradients of the keys and values of source rows first..last, over the transpose: one writer per row."""
    graph, formula = Graph(*graph), Formula(*formula)
    query, key, value, grad = Rows(*query), Rows(*key), Rows(*value), Rows(*grad)
    indptr, target, edge_type, T = graph.indptr, graph.other, graph.edge_type, graph.num_types
    H, C, scale = formula.H, formula.C, formula.scale
    d = H * C
    last_edge = indptr[last] - 1
    block = make_block()
    near, far, tables, edges = block.near, block.far, block.tables, block.edges
    weights, drifts, queries, grads = block.logits, block.drifts, query.flat, grad.flat
    lse_rows, delta_rows = Rows(lse, uint64(H), uint64(1)), Rows(delta, uint64(H), uint64(1))
    nodes = np.empty(BLOCK, np.int64)
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
            type_products(scaled, key, j, graph, formula)
        for b in range(begin, end, BLOCK):
            m = min(BLOCK, end - b)
            for p in range(m):  # not read_edges: a transpose has no empty slots, and was checked
                i = int64(target[uint64(b + p)])
                nodes[p] = i * H
                near[p] = uint64(i) * query.node
                far[p] = uint64(i) * grad.node
                tables[p] = uint64(edge_type[uint64(b + p)]) * uint64(H)
            if graph.ahead:
                prefetch_rows(b, m, last_edge, graph, query, H, C)
                prefetch_rows(b, m, last_edge, graph, lse_rows, 1, 1)
                prefetch_rows(b, m, last_edge, graph, delta_rows, 1, 1)
            if formula.edge_bias.size > 0:
                for p in range(m):
                    edges[p] = int64(edge_id[uint64(b + p)])
            part_key[:] = float32(0.0)
            part_value[:] = float32(0.0)
            for h in range(H):
                logits_of_head(h, m, scaled, query, formula, block)
                if graph.ahead and h == 0:
                    prefetch_rows(b, m, last_edge, graph, grad, H, C)
                drifts_of_head(h, m, value, j, grad, formula, block)
                for p in range(m):
                    lses[p] = lse[uint64(nodes[p] + h)]
                    deltas[p] = delta[uint64(nodes[p] + h)]
                for p in range(m):
                    x = weights[p]
                    weights[p] = weight(x, lses[p], formula.clamp)
                    drifts[p] = logit_gradient(x, weights[p], drifts[p], deltas[p], formula.clamp)
                p = 0
                while p < m:  # runs of one type
                    table = tables[p]
                    run = p
                    while p < m and tables[p] == table:
                        p += 1
                    at = (table + uint64(h)) * uint64(C)
                    add_weighted(part_key, at, drifts, run, p, queries, uint64(h) * query.head, near, C)
                start = uint64(h) * grad.head
                add_weighted(part_value, uint64(h * C), weights, 0, m, grads, start, far, C)
            for t in range(T):
                for c in range(d):
                    total_key[uint64(c)] += scale[uint64(t * d + c)] * part_key[uint64(t * d + c)]
            for c in range(d):
                total_value[uint64(c)] += part_value[uint64(c)]
        for c in range(d):
            grad_key[uint64(j * d + c)] = float32(total_key[uint64(c)])
            grad_value[uint64(j * d + c)] = float32(total_value[uint64(c)])

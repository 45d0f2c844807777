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
    clear,
    drifts_of_block,
    logits_of_block,
    make_block,
    make_scaled,
    prefetch_rows,
    read_edges,
    repeat_last,
    steps,
    type_products,
)
from graphgps_ext.ops.numba_threads import kernel
from graphgps_ext.ops.numba_vectors import add_product, add_weighted, dots, gather, gradients, multiply


@kernel(inline=True)
def run_of_type(tables, p, m):
    """The end of the run of one type that begins at edge p."""
    table = tables[p]
    while p < m and tables[p] == table:
        p += 1
    return p


@kernel(inline=True)
def flush(total, share):
    for k in range(share.size):
        total[k] += share[k]
        share[k] = float32(0.0)


@kernel()
def backward_rows(
    first, last, graph, query, key, value, grad, formula, out, lse,
    delta, grad_query, grad_edge, grad_scale, grad_bias,
):  # fmt: skip
    """Gradients of target rows first..last: the query's, the edges', this chunk's share of the tables'.

    `delta`, filled here for `backward_columns`, is minus output gradient . output.
    """
    graph, formula = Graph(*graph), Formula(*formula)
    query, key, value, grad = Rows(*query), Rows(*key), Rows(*value), Rows(*grad)
    indptr, T = graph.indptr, graph.num_types
    H, C, scale = formula.H, formula.C, formula.scale
    d = H * C
    last_edge = indptr[last] - 1
    block = make_block(H)
    near, tables, edges, keys = block.near, block.tables, block.edges, key.flat
    logits, drifts = block.logits, block.drifts
    lses = np.empty(BLOCK * H, np.float32)
    row_lse, row_delta = np.empty(H, np.float32), np.empty(H, np.float32)
    products, zeros = np.empty(4 * H, np.float32), np.zeros(H, np.float32)
    scaled = make_scaled(T, formula)
    width = d + H
    used = np.zeros(T * width, np.bool_)
    part = np.empty(T * width, np.float32)
    # The scales' gradient is summed in float32 over as many edges as a block has at most.
    share = np.zeros(T * d, np.float32)
    shared = 0
    row, ones = np.empty(d, np.float32), np.ones(d, np.float32)
    total = np.empty(d, np.float64)
    for i in range(first, last):
        begin = indptr[i]
        end = indptr[i + 1]
        query_start = uint64(i) * query.node
        grad_start = uint64(i) * grad.node
        long = end - begin > BLOCK
        if long:
            clear(total, uint64(0), d)
        clear(row, uint64(0), d)
        if end > begin:
            type_products(scaled, query, i, graph, formula)
            block.far[:4] = uint64(i * d)
            dots(products, 4, 1, zeros, uint64(0), None, grad.flat, grad_start, None, out, block.far, H, C)
        for h in range(H):
            row_lse[h] = lse[i * H + h]
            row_delta[h] = -products[4 * h] if end > begin else float32(0.0)
            delta[i * H + h] = row_delta[h]
        for b in range(begin, end, BLOCK):
            n = min(BLOCK, end - b)
            m = read_edges(b, n, graph, key, value, formula, block)
            if graph.ahead:
                prefetch_rows(b, n, last_edge, graph, key, d)
            if m <= 0:
                continue
            step = steps(m)
            logits_of_block(m, scaled, key, formula, block)
            if graph.ahead:
                prefetch_rows(b, n, last_edge, graph, value, d)
            drifts_of_block(m, row_delta, None, grad, i, value, formula, block)
            gather(lses, step, m, row_lse, None, H)
            gradients(logits, drifts, lses, H * step, formula.clamp)
            if grad_edge.size > 0:
                for h in range(H):
                    for p in range(m):
                        grad_edge[uint64(edges[p] * H + h)] = drifts[uint64(h * step + p)]
            p = 0
            while p < m:
                run, p, table = p, run_of_type(tables, p, m), tables[p]
                if not used[table]:
                    used[table] = True
                    clear(part, table, width)
                add_weighted(part, table, table + uint64(d), drifts, step, run, p, keys, near, H, C)
            if shared + m > BLOCK:
                flush(grad_scale, share)
                shared = 0
            shared += m
            for t in range(T):
                table = uint64(t * width)
                if used[table]:
                    used[table] = False
                    at = uint64(t * d)
                    add_product(row, uint64(0), scale, at, part, table, d)
                    add_product(share, at, query.flat, query_start, part, table, d)
                    for h in range(H):
                        grad_bias[t * H + h] += part[table + uint64(d + h)]
            if long:
                add_product(total, uint64(0), row, uint64(0), ones, uint64(0), d)
                clear(row, uint64(0), d)
        if long:
            for c in range(d):
                row[uint64(c)] = float32(total[uint64(c)])
        multiply(grad_query, uint64(i * d), row, uint64(0), ones, uint64(0), d)
    flush(grad_scale, share)


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
    block = make_block(H)
    near, far, tables, edges = block.near, block.far, block.tables, block.edges
    weights, drifts, queries, grads = block.logits, block.drifts, query.flat, grad.flat
    lse_rows, delta_rows = Rows(lse, uint64(H)), Rows(delta, uint64(H))
    nodes = np.empty(BLOCK, np.uint64)
    lses = np.empty(BLOCK * H, np.float32)
    scaled = make_scaled(T, formula)
    width = d + H
    used = np.zeros(T * width, np.bool_)
    part_key = np.empty(T * width, np.float32)
    row_key, row_value = np.empty(d, np.float32), np.empty(d, np.float32)
    ones = np.ones(d, np.float32)
    total_key = np.empty(d, np.float64)
    total_value = np.empty(d, np.float64)
    for j in range(first, last):
        begin = indptr[j]
        end = indptr[j + 1]
        long = end - begin > BLOCK
        if long:
            clear(total_key, uint64(0), d)
            clear(total_value, uint64(0), d)
        clear(row_key, uint64(0), d)
        clear(row_value, uint64(0), d)
        if end > begin:
            type_products(scaled, key, j, graph, formula)
        for b in range(begin, end, BLOCK):
            m = min(BLOCK, end - b)
            for p in range(m):  # not read_edges: a transpose has no empty slots, and was checked
                i = int64(target[uint64(b + p)])
                nodes[p] = uint64(i) * uint64(H)
                near[p] = uint64(i) * query.node
                far[p] = uint64(i) * grad.node
                tables[p] = uint64(edge_type[uint64(b + p)]) * uint64(width)
            repeat_last(nodes, m)
            repeat_last(near, m)
            repeat_last(far, m)
            repeat_last(tables, m)
            if graph.ahead:
                prefetch_rows(b, m, last_edge, graph, query, d)
                prefetch_rows(b, m, last_edge, graph, lse_rows, 1)
                prefetch_rows(b, m, last_edge, graph, delta_rows, 1)
            if formula.edge_bias.size > 0:
                for p in range(m):
                    edges[p] = int64(edge_id[uint64(b + p)])
            step = steps(m)
            logits_of_block(m, scaled, query, formula, block)
            if graph.ahead:
                prefetch_rows(b, m, last_edge, graph, grad, d)
            drifts_of_block(m, delta, nodes, value, j, grad, formula, block)
            gather(lses, step, m, lse, nodes, H)
            gradients(weights, drifts, lses, H * step, formula.clamp)
            p = 0
            while p < m:
                run, p, table = p, run_of_type(tables, p, m), tables[p]
                if not used[table]:
                    used[table] = True
                    clear(part_key, table, d)
                add_weighted(part_key, table, None, drifts, step, run, p, queries, near, H, C)
            for t in range(T):
                table = uint64(t * width)
                if used[table]:
                    used[table] = False
                    add_product(row_key, uint64(0), scale, uint64(t * d), part_key, table, d)
            add_weighted(row_value, uint64(0), None, weights, step, 0, m, grads, far, H, C)
            if long:
                add_product(total_key, uint64(0), row_key, uint64(0), ones, uint64(0), d)
                add_product(total_value, uint64(0), row_value, uint64(0), ones, uint64(0), d)
                clear(row_key, uint64(0), d)
                clear(row_value, uint64(0), d)
        if long:
            for c in range(d):
                row_key[uint64(c)] = float32(total_key[uint64(c)])
                row_value[uint64(c)] = float32(total_value[uint64(c)])
        multiply(grad_key, uint64(j * d), row_key, uint64(0), ones, uint64(0), d)
        multiply(grad_value, uint64(j * d), row_value, uint64(0), ones, uint64(0), d)

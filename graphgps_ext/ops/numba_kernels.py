"""The attention operator's inner loops for the CPU, compiled by numba.

All arrays are flat, so that one compiled version serves every stride: x[i, h, c] stands at
`x.flat[i * x.node + h * C + c]`. Offsets are uint64: numba would wrap a signed index around, which keeps
LLVM from vectorising. A row is handled in blocks of edges: sums run in float32 inside a block and in float64
across blocks, so a row of a million edges is as accurate as one of ten. Most rows are one block, which gets
by without the float64 sums.

What travels together is a named tuple. Two habits keep that free of cost: kernels are called with plain
tuples, which they name themselves (numba takes 0.5 us to find out the type of a named one, at each call), and
read arrays out of a tuple before their loops, or in functions with one exit (elsewhere numba counts
references at run time). Helpers are inlined by LLVM.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32, int64, uint64

from graphgps_ext.ops.numba_threads import kernel
from graphgps_ext.ops.numba_vectors import (
    STEP,
    add_product,
    add_weighted,
    dots,
    exp,
    exponentials,
    largest,
    multiply,
    prefetch,
)

# How the numbers here and in `numba_impl` were measured: forward and backward on one thread (chunks: on two
# as well) of a machine that did other work too, several settings in turn in one process, the best time of
# each.

# Edges handled together, and the length of a float32 sum. From 64 to 1024 the time of bench_attention.py's
# row "stage 1: Tolokers, 1 x 4", and of tables of 10 slots, stays within the noise.
BLOCK = 256
# Edges between asking for a neighbour's rows and reading them. A table of 128,000 x 10, 1 x 4 takes 1.42
# times as long with 4, 1.25 with 8, 0.97 with 32, 0.92 with 64; one of 20,000 x 10, 4 x 16 is 6 % faster
# with 8.
AHEAD = 16
LINE = 16  # floats per cache line


class Rows(NamedTuple):
    """A tensor [*, H, C] with contiguous rows, and its step from node to node."""

    flat: np.ndarray
    node: np.uint64


class Graph(NamedTuple):
    """Edges by row; `other` is the node at an edge's other end, -1 in empty slots.

    `ahead`: whether that node's rows are asked for before they are needed.
    """

    indptr: np.ndarray
    other: np.ndarray
    edge_type: np.ndarray
    num_others: int
    num_types: int
    ahead: bool


class Formula(NamedTuple):
    """What makes a logit, beside query and key.

    `scale` [T, H, C] holds type_scale / sqrt(C), `bias` [T, H] type_bias. An absent edge bias has size 0, an
    absent clamp is infinite.
    """

    scale: np.ndarray
    bias: np.ndarray
    edge_bias: np.ndarray
    clamp: np.float32
    H: int
    C: int


class Block(NamedTuple):
    """Scratch for the edges of a block; the last two head by head, as `numba_vectors` has it."""

    near: np.ndarray  # where each edge's row begins in the first of the tensors read at the other end
    far: np.ndarray  # and in the second
    tables: np.ndarray  # and in what is kept by type: [T, H * C + H], the second part for biases
    edges: np.ndarray  # position of the edge bias
    logits: np.ndarray
    drifts: np.ndarray  # output gradient . value


@kernel(inline=True)
def make_block(H):
    return Block(
        near=np.empty(BLOCK, np.uint64),
        far=np.empty(BLOCK, np.uint64),
        tables=np.empty(BLOCK, np.uint64),
        edges=np.empty(BLOCK, np.int64),
        logits=np.empty(BLOCK * H, np.float32),
        drifts=np.empty(BLOCK * H, np.float32),
    )


@kernel(inline=True)
def steps(m):
    """The distance between heads for m edges: `step` in `numba_vectors`."""
    return (m + STEP - 1) // STEP * STEP


@kernel(inline=True)
def make_scaled(num_types, formula):
    """Room for `type_products`, and the biases."""
    H, d, bias = formula.H, formula.H * formula.C, formula.bias
    scaled = np.empty(num_types * (d + H), np.float32)
    for t in range(num_types):
        for h in range(H):
            scaled[t * (d + H) + d + h] = bias[t * H + h]
    return scaled


@kernel(inline=True)
def type_products(scaled, x, i, graph, formula):
    """scaled[t] = x[i] * scale[t]: once per row and type instead of once per edge."""
    H, d = formula.H, formula.H * formula.C
    for t in range(graph.num_types):
        multiply(scaled, uint64(t * (d + H)), x.flat, uint64(i) * x.node, formula.scale, uint64(t * d), d)


@kernel(inline=True)  # within the loop over edges it costs the forward pass of wide heads some 5 % more
def prefetch_row(x, j, d):
    for c in range(0, d, LINE):
        prefetch(x.flat, uint64(j) * x.node + uint64(c))


@kernel(inline=True)
def prefetch_rows(first, m, last_edge, graph, x, d):
    """Ask for the rows of x of the edges which come AHEAD of first..first + m."""
    other = graph.other
    for e in range(first, first + m):
        j = int64(other[min(e + AHEAD, last_edge)])
        if j >= 0:
            prefetch_row(x, j, d)


@kernel(inline=True)
def repeat_last(offsets, m):
    """Vectors of four edges read a row for each: beyond the last edge its own again."""
    for p in range(m, (m + 3) // 4 * 4):
        offsets[p] = offsets[m - 1]


@kernel(inline=True)
def read_edges(first, m, graph, x, y, formula, block):
    """Where the rows of the edges first..first + m begin, in x, y and the tables; the number of edges.

    Empty slots are left out, `edges` holds the positions of the rest. -1 if a node or type is out of range.
    """
    other, edge_type, width = graph.other, graph.edge_type, uint64(formula.H * (formula.C + 1))
    near, far, tables, edges = block.near, block.far, block.tables, block.edges
    low = high = low_kind = high_kind = int64(0)
    for p in range(m):
        j = int64(other[uint64(first + p)])
        t = int64(edge_type[uint64(first + p)])
        low = min(low, j)
        high = max(high, j)
        low_kind = min(low_kind, t)
        high_kind = max(high_kind, t)
        near[p] = uint64(j) * x.node
        far[p] = uint64(j) * y.node
        tables[p] = uint64(t) * width
        edges[p] = first + p
    bad = low < -1 or high >= graph.num_others or low_kind < 0 or high_kind >= graph.num_types
    used = -1 if bad else m
    if low < 0 and not bad:
        used = 0
        for p in range(m):
            near[used] = near[p]
            far[used] = far[p]
            tables[used] = tables[p]
            edges[used] = edges[p]
            used += int64(other[uint64(first + p)]) >= 0
    repeat_last(near, used)
    repeat_last(far, used)
    repeat_last(tables, used)
    return used


@kernel(inline=True)
def clear(x, start, n):
    for c in range(n):
        x[start + uint64(c)] = 0


@kernel(inline=True)
def logits_of_block(m, scaled, x, formula, block):
    """The logits of a block's edges, without the clamp: x . scaled[type of the edge] + biases."""
    H, C, step = formula.H, formula.C, steps(m)
    logits, tables, edges, edge_bias = block.logits, block.tables, block.edges, formula.edge_bias
    dots(logits, step, m, scaled, uint64(H * C), tables, scaled, uint64(0), tables, x.flat, block.near, H, C)
    if edge_bias.size > 0:
        for h in range(H):
            for p in range(m):
                logits[uint64(h * step + p)] += edge_bias[uint64(edges[p] * H + h)]


@kernel(inline=True)
def drifts_of_block(m, starts, offsets, x, i, y, formula, block):
    """output gradient . value of a block's edges: row i of the one, x, times their rows of the other, y.

    They are added to starts[offsets[p]].
    """
    H, C, start, zero = formula.H, formula.C, uint64(i) * x.node, uint64(0)
    dots(block.drifts, steps(m), m, starts, zero, offsets, x.flat, start, None, y.flat, block.far, H, C)


@kernel()
def forward(first, last, graph, query, key, value, formula, out, lse, weights):
    """Rows first..last of the output, of the log-sum-exp and, if `weights` is not empty, of the weights.

    False, and nothing to rely on, if a source or a type is out of range.
    """
    graph, formula = Graph(*graph), Formula(*formula)
    query, key, value = Rows(*query), Rows(*key), Rows(*value)
    indptr, source = graph.indptr, graph.other
    H, C, clamp = formula.H, formula.C, formula.clamp
    d = H * C
    last_edge = indptr[last] - 1
    block = make_block(H)
    edges, far, logits, values = block.edges, block.far, block.logits, value.flat
    scaled = make_scaled(graph.num_types, formula)
    ones = np.ones(d, np.float32)
    row = np.empty(d, np.float32)
    total = np.empty(d, np.float64)
    top = np.empty(H, np.float32)
    mass = np.empty(H, np.float64)
    for i in range(first, last):
        begin = indptr[i]
        end = indptr[i + 1]
        long = end - begin > BLOCK
        if long:
            clear(total, uint64(0), d)
        clear(row, uint64(0), d)
        top[:] = -np.inf
        mass[:] = 0.0
        if end > begin:
            type_products(scaled, query, i, graph, formula)
        for b in range(begin, end, BLOCK):
            n = min(BLOCK, end - b)
            m = read_edges(b, n, graph, key, value, formula, block)
            if m < 0:
                return False
            if graph.ahead:
                prefetch_rows(b, n, last_edge, graph, key, d)
            step = steps(m)
            logits_of_block(m, scaled, key, formula, block)
            if clamp < np.inf:
                for p in range(H * step):
                    x = clamp if logits[p] > clamp else logits[p]  # a NaN stays
                    logits[p] = -clamp if x < -clamp else x
            if weights.size > 0:
                for h in range(H):
                    for p in range(m):
                        weights[uint64(edges[p] * H + h)] = logits[uint64(h * step + p)]
            if graph.ahead:
                prefetch_rows(b, n, last_edge, graph, value, d)
            for h in range(H):
                # The soft-max goes on from the blocks before: what they summed shrinks to the new maximum.
                new_top = max(top[h], largest(logits, h * step, m))
                if new_top == -np.inf:  # empty slots only; exp(-inf + inf) would be NaN
                    new_top = float32(0.0)
                if b > begin:
                    shrink = exp(top[h] - new_top)
                    mass[h] *= shrink
                    for c in range(h * C, (h + 1) * C):
                        total[uint64(c)] *= shrink
                top[h] = new_top
                mass[h] += exponentials(logits, h * step, m, new_top)
            add_weighted(row, uint64(0), None, logits, step, 0, m, values, far, H, C)
            if long:
                add_product(total, uint64(0), row, uint64(0), ones, uint64(0), d)
                clear(row, uint64(0), d)
        if long:
            for c in range(d):
                row[uint64(c)] = float32(total[uint64(c)])
        for h in range(H):
            empty = mass[h] == 0.0
            inverse = float32(0.0 if empty else 1.0 / mass[h])
            lse[i * H + h] = float32(0.0) if empty else top[h] + np.log(float32(mass[h]))
            for c in range(h * C, (h + 1) * C):
                out[uint64(i * d + c)] = row[uint64(c)] * inverse
        if weights.size > 0:
            for e in range(begin, end):
                for h in range(H):
                    at = uint64(e * H + h)
                    # Not exp(logit - lse): in float32 lse is off by 1e-3 where logits are near 1e4.
                    if source[uint64(e)] >= 0:
                        weights[at] = float32(exp(weights[at] - top[h]) / mass[h])
                    else:
                        weights[at] = float32(0.0)
    return True

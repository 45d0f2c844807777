"""The attention operator's inner loops for the CPU, compiled by numba.

All arrays are flat, so that one compiled version serves every stride: x[i, h, c] stands at
`x.flat[i * x.node + h * x.head + c]`. Offsets are uint64: numba would wrap a signed index around, which keeps
LLVM from vectorising. A row is handled in blocks of edges: sums run in float32 inside a block and in float64
across blocks, so a row of a million edges is as accurate as one of ten.

What travels together is a named tuple. Two habits keep that free of cost: kernels are called with plain
tuples, which they name themselves (numba takes 0.5 us to find out the type of a named one, at each call), and
read arrays out of a tuple before their loops, or in functions with one exit (elsewhere numba counts
references at run time). Helpers are inlined by LLVM; those that call `dots` by numba, or the optimiser would
see them twice and order the sums over wide heads anew.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import float32, int32, int64, njit, uint64

from graphgps_ext.ops.numba_threads import FASTMATH, kernel
from graphgps_ext.ops.numba_vectors import add_weighted, dots, prefetch

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
PAD = 16  # loops over the edges of a block run to a multiple of this: no remainder


@kernel(fastmath={'contract'}, inline=True)  # reassociation would fold the rounding trick away
def exp(x):
    """exp of a float32 x <= 88 to 1.03 units in the last place, vectorisable; 0 below -87; NaN stays NaN.

    Method and coefficients are those of `expf` in S. L. Moshier's Cephes library (single/expf.c):
    exp(x) = 2^n exp(r) with n = round(x / log 2), where log 2 = 0.693359375 - 2.12194440e-4, and
    exp(r) = 1 + r + r^2 p(r) for |r| <= log(2) / 2. Rounding is done by adding 1.5 * 2^23: the last bits of
    the sum are n, ready to become the exponent.
    """
    shifted = x * float32(1.44269504) + float32(12582912.0)  # 1 / log 2 and 1.5 * 2^23
    power = shifted - float32(12582912.0)
    r = x - power * float32(0.693359375)
    r = r + power * float32(2.12194440e-4)
    p = float32(1.9875691500e-4)
    p = p * r + float32(1.3981999507e-3)
    p = p * r + float32(8.3334519073e-3)
    p = p * r + float32(4.1665795894e-2)
    p = p * r + float32(1.6666665459e-1)
    p = p * r + float32(5.0000001201e-1)
    p = p * r * r + r + float32(1.0)
    exponent = (np.float32(shifted).view(np.int32) - int32(0x4B400000) + int32(127)) << int32(23)
    result = p * np.int32(exponent).view(np.float32)
    return float32(0.0) if x < float32(-87.0) else result


class Rows(NamedTuple):
    """A tensor [*, H, C] with contiguous channels and its steps from node to node and from head to head."""

    flat: np.ndarray
    node: np.uint64
    head: np.uint64


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
    """Scratch for the edges of a block."""

    near: np.ndarray  # where each edge's row begins in the first of the tensors read at the other end
    far: np.ndarray  # and in the second
    tables: np.ndarray  # type * H
    edges: np.ndarray  # position of the edge bias
    logits: np.ndarray
    drifts: np.ndarray  # output gradient . value
    zeros: np.ndarray


@kernel(inline=True)
def make_block():
    return Block(
        near=np.empty(BLOCK, np.uint64),
        far=np.empty(BLOCK, np.uint64),
        tables=np.empty(BLOCK, np.uint64),
        edges=np.empty(BLOCK, np.int64),
        logits=np.empty(BLOCK, np.float32),
        drifts=np.empty(BLOCK, np.float32),
        zeros=np.zeros(BLOCK, np.uint64),
    )


@kernel(inline=True)
def type_products(scaled, x, i, graph, formula):
    """scaled[t] = x[i] * scale[t]: once per row and type instead of once per edge."""
    H, C = formula.H, formula.C
    for t in range(graph.num_types):
        for h in range(H):
            at = uint64((t * H + h) * C)
            start = uint64(i) * x.node + uint64(h) * x.head
            for c in range(C):
                scaled[at + uint64(c)] = x.flat[start + uint64(c)] * formula.scale[at + uint64(c)]


@kernel(fastmath=FASTMATH | {'nnan'}, inline=True)  # a NaN may be lost here: it comes back through exp
def largest(x, m):
    top = float32(-np.inf)
    for p in range(m):
        top = max(top, x[p])
    return top


@kernel(inline=True)
def softmax_weights(logits, m, top):
    """Turn logits into exp(logit - top); their sum."""
    mass = 0.0
    for p in range(m):
        w = exp(logits[p] - top)
        logits[p] = w
        mass += w
    return mass


@kernel(inline=True)
def clamped(x, clamp):
    """x between -clamp and clamp; a NaN stays."""
    x = clamp if x > clamp else x
    return -clamp if x < -clamp else x


@kernel(inline=True)  # within the loop over edges it costs the forward pass of wide heads some 5 % more
def prefetch_row(x, j, H, C):
    for h in range(H):
        for c in range(0, C, LINE):
            prefetch(x.flat, uint64(j) * x.node + uint64(h) * x.head + uint64(c))


@kernel(inline=True)
def prefetch_rows(first, m, last_edge, graph, x, H, C):
    """Ask for the rows of x of the edges which come AHEAD of first..first + m."""
    other = graph.other
    for e in range(first, first + m):
        j = int64(other[min(e + AHEAD, last_edge)])
        if j >= 0:
            prefetch_row(x, j, H, C)


@kernel(inline=True)
def read_edges(first, m, graph, x, y, formula, block):
    """Where the rows of the edges first..first + m begin, in x, y and the tables; the number of edges.

    Empty slots are left out, `edges` holds the positions of the rest. -1 if a node or type is out of range.
    """
    other, edge_type, H = graph.other, graph.edge_type, formula.H
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
        tables[p] = uint64(t * H)
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
    return used


@kernel(inline=True)
def add_biases(h, m, formula, block):
    """Add the bias of each edge's type and its own."""
    logits, tables, edges = block.logits, block.tables, block.edges
    H, bias, edge_bias = formula.H, formula.bias, formula.edge_bias
    for p in range(m):
        logits[p] += bias[tables[p] + uint64(h)]
    if edge_bias.size > 0:
        for p in range(m):
            logits[p] += edge_bias[uint64(edges[p] * H + h)]


@njit(inline='always')
def logits_of_head(h, m, scaled, x, formula, block):
    """The logits of a block's edges, without the clamp: x . scaled[type of the edge] + biases."""
    C, start = formula.C, uint64(h) * x.head
    dots(block.logits, m, scaled, uint64(h * C), block.tables, uint64(C), x.flat, start, block.near, C)
    add_biases(h, m, formula, block)


@njit(inline='always')
def drifts_of_head(h, m, x, i, y, formula, block):
    """output gradient . value of a block's edges: row i of the one, x, times their rows of the other, y."""
    start, y_start = uint64(i) * x.node + uint64(h) * x.head, uint64(h) * y.head
    dots(block.drifts, m, x.flat, start, block.zeros, uint64(0), y.flat, y_start, block.far, formula.C)


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
    block = make_block()
    edges, far, logits, values = block.edges, block.far, block.logits, value.flat
    scaled = np.empty(graph.num_types * d, np.float32)
    part = np.empty(C, np.float32)
    total = np.empty(d, np.float64)
    top = np.empty(H, np.float32)
    mass = np.empty(H, np.float64)
    for i in range(first, last):
        begin = indptr[i]
        end = indptr[i + 1]
        total[:] = 0.0
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
                prefetch_rows(b, n, last_edge, graph, key, H, C)
            padded = (m + PAD - 1) // PAD * PAD
            for h in range(H):
                logits_of_head(h, m, scaled, key, formula, block)
                for p in range(m, padded):
                    logits[p] = -np.inf
                if clamp < np.inf:
                    for p in range(m):
                        logits[p] = clamped(logits[p], clamp)
                if weights.size > 0:
                    for p in range(m):
                        weights[uint64(edges[p] * H + h)] = logits[p]
                # The soft-max goes on from the blocks before: what they summed shrinks to the new maximum.
                new_top = max(top[h], largest(logits, padded))
                if new_top == -np.inf:  # empty slots only; exp(-inf + inf) would be NaN
                    new_top = float32(0.0)
                shrink = exp(top[h] - new_top)
                mass[h] = mass[h] * shrink + softmax_weights(logits, padded, new_top)
                top[h] = new_top
                if graph.ahead and h == 0:
                    prefetch_rows(b, n, last_edge, graph, value, H, C)
                for c in range(C):
                    part[c] = float32(0.0)
                add_weighted(part, uint64(0), logits, 0, m, values, uint64(h) * value.head, far, C)
                for c in range(C):
                    total[h * C + c] = total[h * C + c] * shrink + part[c]
        for h in range(H):
            empty = mass[h] == 0.0
            inverse = 0.0 if empty else 1.0 / mass[h]
            lse[i * H + h] = float32(0.0) if empty else top[h] + np.log(float32(mass[h]))
            for c in range(h * C, (h + 1) * C):
                out[uint64(i * d + c)] = float32(total[uint64(c)] * inverse)
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

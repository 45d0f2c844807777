"""The attention operator's inner loops for the CPU, compiled by numba.

All arrays are flat, so that one compiled version serves every stride: query[i, h, c] stands at
`query[i * query_node + h * query_head + c]`. Offsets are uint64: numba would wrap a signed index around,
which keeps LLVM from vectorising. A row is handled in blocks of edges: sums run in float32 inside a block and
in float64 across blocks, so a row of a million edges is as accurate as one of ten.

`scale` [T, H, C] holds type_scale / (sqrt(C) * temperature) and `bias` [T, H] type_bias / temperature, so the
loops see logit / temperature. `clamp` is infinite where there is none. An absent edge bias has size 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int32, int64, uint64

from graphgps_ext.ops.numba_threads import FASTMATH, kernel
from graphgps_ext.ops.numba_vectors import add_weighted, dots, prefetch

BLOCK = 256  # edges handled together; also the length of a float32 sum
AHEAD = 16  # edges between asking for a neighbour's rows and reading them
LINE = 16  # floats per cache line
PAD = 16  # loops over the edges of a block run to a multiple of this: no remainder


@kernel(fastmath={'contract'}, inline=True)  # reassociation would fold the rounding trick away
def exp(x: Any) -> Any:
    """exp of a float32 x <= 88 to 2 units in the last place, vectorisable; 0 below -87; NaN stays NaN."""
    shifted = x * float32(1.44269504) + float32(12582912.0)  # 1.5 * 2^23: rounds to an integer
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


@kernel(inline=True)
def type_products(scaled: Any, x: Any, x_start: Any, x_head: Any, scale: Any, T: Any, H: Any, C: Any) -> None:
    """scaled[t] = x * scale[t] for a row x: once per row and type instead of once per edge."""
    for t in range(T):
        for h in range(H):
            at = uint64((t * H + h) * C)
            start = x_start + uint64(h) * x_head
            for c in range(C):
                scaled[at + uint64(c)] = x[start + uint64(c)] * scale[at + uint64(c)]


@kernel(inline=True)
def prefetch_rows(x: Any, node: Any, x_node: Any, x_head: Any, H: Any, C: Any) -> None:
    for h in range(H):
        for c in range(0, C, LINE):
            prefetch(x, uint64(node) * x_node + uint64(h) * x_head + uint64(c))


@kernel(fastmath=FASTMATH | {'nnan'}, inline=True)  # a NaN may be lost here: it comes back through exp
def largest(x: Any, m: Any) -> Any:
    top = float32(-np.inf)
    for p in range(m):
        top = max(top, x[p])
    return top


@kernel(inline=True)
def softmax_weights(logits: Any, m: Any, top: Any) -> Any:
    """Turn logits into exp(logit - top); their sum."""
    mass = 0.0
    for p in range(m):
        w = exp(logits[p] - top)
        logits[p] = w
        mass += w
    return mass


@kernel(inline=True)
def clamped(x: Any, clamp: Any) -> Any:
    """x between -clamp and clamp; a NaN stays."""
    x = clamp if x > clamp else x
    return -clamp if x < -clamp else x


@kernel(inline=True)
def add_biases(
    logits: Any, tables: Any, edges: Any, m: Any, h: Any, H: Any,
    bias: Any, edge_bias: Any, inv_temperature: Any,
) -> None:  # fmt: skip
    """Add the bias of each edge's type and its own."""
    for p in range(m):
        logits[p] += bias[tables[p] + uint64(h)]
    if edge_bias.size > 0:
        for p in range(m):
            logits[p] += edge_bias[uint64(edges[p] * H + h)] * inv_temperature


@kernel(inline=True)
def read_edges(
    first: Any, m: Any, source: Any, edge_type: Any, num_sources: Any, num_types: Any,
    key_node: Any, value_node: Any, H: Any, keys: Any, values: Any, tables: Any, edges: Any,
) -> Any:  # fmt: skip
    """Where the rows of the edges first..first + m begin, in key, value and tables; the number of edges.

    Empty slots are left out, `edges` holds the positions of the rest. -1 if a source or type is out of range.
    """
    low = high = low_kind = high_kind = int64(0)
    for p in range(m):
        j = int64(source[uint64(first + p)])
        t = int64(edge_type[uint64(first + p)])
        low = min(low, j)
        high = max(high, j)
        low_kind = min(low_kind, t)
        high_kind = max(high_kind, t)
        keys[p] = uint64(j) * key_node
        values[p] = uint64(j) * value_node
        tables[p] = uint64(t * H)
        edges[p] = first + p
    if low < -1 or high >= num_sources or low_kind < 0 or high_kind >= num_types:
        return -1
    if low == 0:
        return m
    used = 0
    for p in range(m):
        keys[used] = keys[p]
        values[used] = values[p]
        tables[used] = tables[p]
        edges[used] = edges[p]
        used += int64(source[uint64(first + p)]) >= 0
    return used


@kernel(inline=True)
def prefetch_neighbors(
    first: Any, m: Any, last_edge: Any, source: Any, x: Any, x_node: Any, x_head: Any, H: Any, C: Any
) -> None:  # fmt: skip
    """Prefetch rows of x for the edges which come AHEAD of first..first + m."""
    for e in range(first, first + m):
        j = int64(source[min(e + AHEAD, last_edge)])
        if j >= 0:
            prefetch_rows(x, j, x_node, x_head, H, C)


@kernel()
def forward(
    first: Any, last: Any, indptr: Any, source: Any, edge_type: Any, num_sources: Any, num_types: Any,
    ahead: Any, query: Any, query_node: Any, query_head: Any, key: Any, key_node: Any, key_head: Any,
    value: Any, value_node: Any, value_head: Any, scale: Any, bias: Any, edge_bias: Any,
    inv_temperature: Any, clamp: Any, H: Any, C: Any, out: Any, lse: Any, weights: Any,
) -> Any:  # fmt: skip
    """Rows first..last of the output, of the log-sum-exp and, if `weights` is not empty, of the weights.

    False, and nothing to rely on, if a source or a type is out of range.
    """
    d = H * C
    last_edge = indptr[last] - 1
    keys = np.empty(BLOCK, np.uint64)
    values = np.empty(BLOCK, np.uint64)
    tables = np.empty(BLOCK, np.uint64)
    edges = np.empty(BLOCK, np.int64)
    logits = np.empty(BLOCK, np.float32)
    scaled = np.empty(num_types * d, np.float32)
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
            type_products(scaled, query, uint64(i) * query_node, query_head, scale, num_types, H, C)
        for b in range(begin, end, BLOCK):
            n = min(BLOCK, end - b)
            m = read_edges(
                b, n, source, edge_type, num_sources, num_types, key_node, value_node, H,
                keys, values, tables, edges,
            )  # fmt: skip
            if m < 0:
                return False
            if ahead:
                prefetch_neighbors(b, n, last_edge, source, key, key_node, key_head, H, C)
            padded = (m + PAD - 1) // PAD * PAD
            for h in range(H):
                dots(logits, m, scaled, uint64(h * C), tables, uint64(C), key, uint64(h) * key_head, keys, C)
                add_biases(logits, tables, edges, m, h, H, bias, edge_bias, inv_temperature)
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
                if ahead and h == 0:
                    prefetch_neighbors(b, n, last_edge, source, value, value_node, value_head, H, C)
                for c in range(C):
                    part[c] = float32(0.0)
                add_weighted(part, uint64(0), logits, 0, m, value, uint64(h) * value_head, values, C)
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

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

from graphgps_ext.ops.numba_threads import FASTMATH, kernel, prefetch

BLOCK = 256  # edges handled together; also the length of a float32 sum
NARROW = 16  # below this many channels LLVM's vectors of channels stay empty
AHEAD = 16  # edges between asking for a neighbour's rows and reading them
LINE = 16  # floats per cache line


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
def dot(a: Any, a_start: Any, b: Any, b_start: Any, n: Any) -> Any:
    total = float32(0.0)
    for c in range(n):
        total += a[a_start + uint64(c)] * b[b_start + uint64(c)]
    return total


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


@kernel(inline=True)
def dots(
    result: Any, ids: Any, kinds: Any, m: Any, a: Any, a_start: Any, a_kind: Any,
    b: Any, b_start: Any, b_node: Any, C: Any,
) -> None:  # fmt: skip
    """result[p] = a[kinds[p]] . b[ids[p]] over C channels."""
    if C < NARROW:
        whole = C - C % 4
        for p in range(m):
            at = a_start + uint64(kinds[p]) * a_kind
            bt = b_start + uint64(ids[p]) * b_node
            total = float32(0.0)
            for c in range(0, whole, 4):
                x = a[at + uint64(c)] * b[bt + uint64(c)] + a[at + uint64(c + 1)] * b[bt + uint64(c + 1)]
                y = a[at + uint64(c + 2)] * b[bt + uint64(c + 2)] + a[at + uint64(c + 3)] * b[bt + uint64(c + 3)]
                total += x + y
            for c in range(whole, C):
                total += a[at + uint64(c)] * b[bt + uint64(c)]
            result[p] = total
    else:
        for p in range(m):
            at = a_start + uint64(kinds[p]) * a_kind
            result[p] = dot(a, at, b, b_start + uint64(ids[p]) * b_node, C)


@kernel(inline=True)
def weighted_sum(
    total: Any, w: Any, ids: Any, m: Any, b: Any, b_start: Any, b_node: Any, C: Any
) -> None:  # fmt: skip
    """total[c] = sum of w[p] * b[ids[p], c]."""
    if C < NARROW:
        whole = C - C % 4
        for c in range(0, whole, 4):
            x0 = x1 = x2 = x3 = float32(0.0)
            for p in range(m):
                bt = b_start + uint64(ids[p]) * b_node + uint64(c)
                x0 += w[p] * b[bt]
                x1 += w[p] * b[bt + uint64(1)]
                x2 += w[p] * b[bt + uint64(2)]
                x3 += w[p] * b[bt + uint64(3)]
            total[c] = x0
            total[c + 1] = x1
            total[c + 2] = x2
            total[c + 3] = x3
        for c in range(whole, C):
            x0 = float32(0.0)
            for p in range(m):
                x0 += w[p] * b[b_start + uint64(ids[p]) * b_node + uint64(c)]
            total[c] = x0
    else:
        for c in range(C):
            total[c] = float32(0.0)
        # Four edges at a time: the sums pass through memory, whose latency would else bound the loop.
        whole = m - m % 4
        for p in range(0, whole, 4):
            b0 = b_start + uint64(ids[p]) * b_node
            b1 = b_start + uint64(ids[p + 1]) * b_node
            b2 = b_start + uint64(ids[p + 2]) * b_node
            b3 = b_start + uint64(ids[p + 3]) * b_node
            w0, w1, w2, w3 = w[p], w[p + 1], w[p + 2], w[p + 3]
            for c in range(C):
                u = uint64(c)
                total[u] += (w0 * b[b0 + u] + w1 * b[b1 + u]) + (w2 * b[b2 + u] + w3 * b[b3 + u])
        for p in range(whole, m):
            bt = b_start + uint64(ids[p]) * b_node
            for c in range(C):
                total[uint64(c)] += w[p] * b[bt + uint64(c)]


@kernel(inline=True)
def softmax_weights(logits: Any, m: Any, top: Any) -> Any:
    """Turn logits into exp(logit - top); their sum."""
    mass = 0.0
    for p in range(m):
        w = exp(logits[p] - top)
        logits[p] = w
        mass += w
    return mass


@kernel(fastmath=FASTMATH | {'nnan'}, inline=True)  # a NaN may be lost here: it comes back through exp
def largest(x: Any, m: Any) -> Any:
    top = float32(-np.inf)
    for p in range(m):
        top = max(top, x[p])
    return top


@kernel(inline=True)
def finish_logits(
    logits: Any, kinds: Any, edges: Any, m: Any, h: Any, H: Any, bias: Any, edge_bias: Any, inv_temperature: Any
) -> None:  # fmt: skip
    """Add the bias of each edge's type and its own."""
    for p in range(m):
        logits[p] += bias[uint64(kinds[p]) * uint64(H) + uint64(h)]
    if edge_bias.size > 0:
        for p in range(m):
            logits[p] += edge_bias[uint64(edges[p]) * uint64(H) + uint64(h)] * inv_temperature


@kernel()
def forward(
    first: Any, last: Any, indptr: Any, source: Any, edge_type: Any, num_sources: Any, num_types: Any,
    ahead: Any, query: Any, query_node: Any, query_head: Any, key: Any, key_node: Any, key_head: Any,
    value: Any, value_node: Any, value_head: Any, scale: Any, bias: Any, edge_bias: Any,
    inv_temperature: Any, clamp: Any, H: Any, C: Any, out: Any, lse: Any, weights: Any,
) -> Any:  # fmt: skip
    """Rows first..last of the output, of the log-sum-exp and, if `weights` is not empty, of the weights.

    Returns the position of the first edge whose source or type is out of range, or -1.
    """
    d = H * C
    last_edge = indptr[last] - 1
    ids = np.empty(BLOCK, np.int64)
    kinds = np.empty(BLOCK, np.int64)
    edges = np.empty(BLOCK, np.int64)
    logits = np.empty(BLOCK, np.float32)
    scaled = np.empty(num_types * d, np.float32)
    part = np.empty(C, np.float32)
    total = np.empty(d, np.float64)
    top = np.empty(H, np.float32)
    mass = np.empty(H, np.float64)
    for i in range(first, last):
        begin = indptr[i]
        n = indptr[i + 1] - begin
        total[:] = 0.0
        top[:] = -np.inf
        mass[:] = 0.0
        if n > 0:
            type_products(scaled, query, uint64(i) * query_node, query_head, scale, num_types, H, C)
        for b in range(begin, begin + n, BLOCK):
            m = 0
            for e in range(b, min(b + BLOCK, begin + n)):
                j = int64(source[e])
                t = int64(edge_type[e])
                if j < -1 or j >= num_sources or t < 0 or t >= num_types:
                    return e
                ids[m] = j
                kinds[m] = t
                edges[m] = e
                m += j >= 0
            if ahead:
                for e in range(b, min(b + BLOCK, begin + n)):
                    j = int64(source[min(e + AHEAD, last_edge)])
                    if j >= 0:
                        prefetch_rows(key, j, key_node, key_head, H, C)
                        prefetch_rows(value, j, value_node, value_head, H, C)
            for h in range(H):
                dots(
                    logits, ids, kinds, m, scaled, uint64(h * C), uint64(d),
                    key, uint64(h) * key_head, key_node, C,
                )  # fmt: skip
                finish_logits(logits, kinds, edges, m, h, H, bias, edge_bias, inv_temperature)
                if clamp < np.inf:
                    for p in range(m):
                        x = logits[p]
                        x = clamp if x > clamp else x
                        logits[p] = -clamp if x < -clamp else x
                if weights.size > 0:
                    for p in range(m):
                        weights[uint64(edges[p]) * uint64(H) + uint64(h)] = logits[p]
                # The soft-max goes on from the blocks before: what they summed shrinks to the new maximum.
                new_top = max(top[h], largest(logits, m))
                shrink = exp(top[h] - new_top) if new_top > -np.inf else float32(0.0)
                mass[h] = mass[h] * shrink + softmax_weights(logits, m, new_top)
                top[h] = new_top
                weighted_sum(part, logits, ids, m, value, uint64(h) * value_head, value_node, C)
                for c in range(C):
                    total[h * C + c] = total[h * C + c] * shrink + part[c]
        for h in range(H):
            empty = mass[h] == 0.0
            inverse = 0.0 if empty else 1.0 / mass[h]
            lse[i * H + h] = float32(0.0) if empty else float32(top[h] + np.log(mass[h]))
            for c in range(C):
                out[i * d + h * C + c] = float32(total[h * C + c] * inverse)
        if weights.size > 0:
            for e in range(begin, begin + n):
                for h in range(H):
                    at = uint64(e) * uint64(H) + uint64(h)
                    weights[at] = exp(weights[at] - lse[i * H + h]) if source[e] >= 0 else float32(0.0)
    return -1

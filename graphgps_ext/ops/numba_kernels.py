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
from graphgps_ext.ops.numba_vectors import add_scaled, dot, multiply, prefetch

BLOCK = 256  # edges handled together; also the length of a float32 sum
LANES = 2  # sums which edges join in turn: through memory, a single sum would wait for itself
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
def type_products(scaled: Any, x: Any, x_start: Any, x_head: Any, scale: Any, T: Any, H: Any, C: Any) -> None:
    """scaled[t] = x * scale[t] for a row x: once per row and type instead of once per edge."""
    for t in range(T):
        for h in range(H):
            at = uint64((t * H + h) * C)
            multiply(scaled, at, x, x_start + uint64(h) * x_head, scale, at, C)


@kernel(inline=True)
def prefetch_rows(x: Any, node: Any, x_node: Any, x_head: Any, H: Any, C: Any) -> None:
    for h in range(H):
        for c in range(0, C, LINE):
            prefetch(x, uint64(node) * x_node + uint64(h) * x_head + uint64(c))


@kernel(fastmath=FASTMATH | {'nnan'}, inline=True)  # a NaN may be lost here: it comes back through exp
def largest(x: Any, start: Any, m: Any) -> Any:
    top = float32(-np.inf)
    for p in range(m):
        top = max(top, x[start + uint64(p)])
    return top


@kernel(inline=True)
def softmax_weights(logits: Any, start: Any, m: Any, top: Any) -> Any:
    """Turn logits into exp(logit - top); their sum."""
    mass = 0.0
    for p in range(m):
        w = exp(logits[start + uint64(p)] - top)
        logits[start + uint64(p)] = w
        mass += w
    return mass


@kernel(inline=True)
def clamped(x: Any, clamp: Any) -> Any:
    """x between -clamp and clamp; a NaN stays."""
    x = clamp if x > clamp else x
    return -clamp if x < -clamp else x


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
    logits = np.empty(H * BLOCK, np.float32)
    scaled = np.empty(num_types * d, np.float32)
    part = np.empty(LANES * d, np.float32)
    total = np.empty(d, np.float64)
    top = np.empty(H, np.float32)
    mass = np.empty(H, np.float64)
    shrink = np.empty(H, np.float32)
    for i in range(first, last):
        begin = indptr[i]
        end = indptr[i + 1]
        total[:] = 0.0
        top[:] = -np.inf
        mass[:] = 0.0
        if end > begin:
            type_products(scaled, query, uint64(i) * query_node, query_head, scale, num_types, H, C)
        for b in range(begin, end, BLOCK):
            m = min(BLOCK, end - b)
            for p in range(m):
                e = b + p
                if ahead:
                    j = int64(source[min(e + AHEAD, last_edge)])
                    if j >= 0:
                        prefetch_rows(key, j, key_node, key_head, H, C)
                        prefetch_rows(value, j, value_node, value_head, H, C)
                j = int64(source[uint64(e)])
                t = int64(edge_type[uint64(e)])
                if j < 0 or j >= num_sources or t < 0 or t >= num_types:
                    if j != -1:
                        return e
                    for h in range(H):
                        logits[uint64(h * BLOCK + p)] = -np.inf
                    continue
                for h in range(H):
                    at = t * H + h
                    logit = bias[uint64(at)] + dot(
                        scaled, uint64(at * C), key, uint64(j) * key_node + uint64(h) * key_head, C
                    )
                    if edge_bias.size > 0:
                        logit += edge_bias[uint64(e * H + h)] * inv_temperature
                    logits[uint64(h * BLOCK + p)] = clamped(logit, clamp)
            if weights.size > 0:
                for p in range(m):
                    for h in range(H):
                        weights[uint64((b + p) * H + h)] = logits[uint64(h * BLOCK + p)]
            for h in range(H):
                # The soft-max goes on from the blocks before: what they summed shrinks to the new maximum.
                start = uint64(h * BLOCK)
                new_top = max(top[h], largest(logits, start, m))
                if new_top == -np.inf:  # empty slots only; exp(-inf + inf) would be NaN
                    new_top = float32(0.0)
                shrink[h] = exp(top[h] - new_top)
                mass[h] = mass[h] * shrink[h] + softmax_weights(logits, start, m, new_top)
                top[h] = new_top
            part[:] = float32(0.0)
            for p in range(m):
                j = int64(source[uint64(b + p)])
                if j < 0:
                    continue
                for h in range(H):
                    add_scaled(
                        part, uint64((p % LANES) * d + h * C), logits[uint64(h * BLOCK + p)],
                        value, uint64(j) * value_node + uint64(h) * value_head, C,
                    )  # fmt: skip
            for h in range(H):
                for c in range(h * C, (h + 1) * C):
                    x = part[uint64(c)] + part[uint64(d + c)]
                    total[uint64(c)] = total[uint64(c)] * shrink[h] + x
        for h in range(H):
            empty = mass[h] == 0.0
            inverse = 0.0 if empty else 1.0 / mass[h]
            lse[i * H + h] = float32(0.0) if empty else float32(top[h] + np.log(mass[h]))
            for c in range(h * C, (h + 1) * C):
                out[uint64(i * d + c)] = float32(total[uint64(c)] * inverse)
        if weights.size > 0:
            for e in range(begin, end):
                for h in range(H):
                    at = uint64(e * H + h)
                    weights[at] = exp(weights[at] - lse[i * H + h])
    return -1

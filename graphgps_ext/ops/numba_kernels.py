"""The attention operator's inner loops for the CPU, compiled by numba.

All arrays are flat, so that one compiled version serves every stride: query[i, h, c] stands at
`query[i * query_node + h * query_head + c]`. Offsets are uint64: numba would wrap a signed index around, which
keeps LLVM from vectorising. A row is handled in blocks of edges: sums run in float32 inside a block and in
float64 across blocks, so a row of a million edges is as accurate as one of ten.

`scale` [T, H, C] holds type_scale / (sqrt(C) * temperature) and `bias` [T, H] type_bias / temperature, so the
loops see logit / temperature. `clamp` is infinite where there is none. An absent edge bias has size 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int32, int64, uint64

from graphgps_ext.ops.numba_threads import kernel, prefetch

AHEAD = 8  # edges between asking for a neighbour's rows and reading them
LINE = 16  # floats per cache line
BLOCK = 256  # edges whose logits are in flight; also the length of a float32 sum


@kernel(fastmath={'contract'}, inline=True)  # reassociation would fold the rounding trick away
def _exp(x: Any) -> Any:
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
def _dot(a: Any, a_start: Any, b: Any, b_start: Any, n: Any) -> Any:
    total = float32(0.0)
    for c in range(n):
        total += a[a_start + uint64(c)] * b[b_start + uint64(c)]
    return total


@kernel(inline=True)
def _add_scaled(total: Any, total_start: Any, w: Any, a: Any, a_start: Any, n: Any) -> None:
    for c in range(n):
        total[total_start + uint64(c)] += w * a[a_start + uint64(c)]


@kernel(inline=True)
def _type_products(
    scaled: Any, t: Any, x: Any, x_start: Any, x_head: Any, scale: Any, H: Any, C: Any
) -> None:
    """scaled[t] = x * scale[t], once per row and type instead of once per edge."""
    for h in range(H):
        at = uint64((t * H + h) * C)
        start = x_start + uint64(h) * x_head
        for c in range(C):
            scaled[at + uint64(c)] = x[start + uint64(c)] * scale[at + uint64(c)]


@kernel(inline=True)
def _ask(x: Any, start: Any, x_head: Any, H: Any, C: Any) -> None:
    """Prefetch one row of x."""
    for h in range(H):
        for c in range(0, C, LINE):
            prefetch(x, start + uint64(h) * x_head + uint64(c))


@kernel()
def forward(
    first: Any, last: Any, indptr: Any, source: Any, edge_type: Any, num_sources: Any, num_types: Any,
    query: Any, query_node: Any, query_head: Any, key: Any, key_node: Any, key_head: Any,
    value: Any, value_node: Any, value_head: Any, scale: Any, bias: Any, edge_bias: Any,
    inv_temperature: Any, clamp: Any, H: Any, C: Any, out: Any, lse: Any, weights: Any,
) -> Any:  # fmt: skip
    """Rows first..last of the output, of the log-sum-exp and, if `weights` is not empty, of the weights.

    Returns the position of the first edge whose source or type is out of range, or -1.
    """
    d = H * C
    last_edge = uint64(max(indptr[last] - 1, 0))
    longest = 0
    for i in range(first, last):
        longest = max(longest, indptr[i + 1] - indptr[i])
    logits = np.empty(H * longest, np.float32)
    scaled = np.empty(num_types * d, np.float32)
    seen = np.empty(num_types, np.bool_)
    part = np.empty(d, np.float32)
    total = np.empty(d, np.float64)
    for i in range(first, last):
        begin = indptr[i]
        n = indptr[i + 1] - begin
        seen[:] = False
        total[:] = 0.0
        used = 0
        for p in range(n):
            e = uint64(begin + p)
            ahead = int64(source[min(e + uint64(AHEAD), last_edge)])
            if ahead >= 0:
                _ask(key, uint64(ahead) * key_node, key_head, H, C)
                _ask(value, uint64(ahead) * value_node, value_head, H, C)
            j = int64(source[e])
            if j == -1:
                for h in range(H):
                    logits[uint64(h * n + p)] = -np.inf
                continue
            t = int64(edge_type[e])
            if j < 0 or j >= num_sources or t < 0 or t >= num_types:
                return begin + p
            used += 1
            if not seen[t]:
                seen[t] = True
                _type_products(scaled, t, query, uint64(i) * query_node, query_head, scale, H, C)
            for h in range(H):
                at = t * H + h
                logit = _dot(scaled, uint64(at * C), key, uint64(j) * key_node + uint64(h) * key_head, C)
                logit += bias[at]
                if edge_bias.size > 0:
                    logit += edge_bias[e * uint64(H) + uint64(h)] * inv_temperature
                if logit > clamp:
                    logit = clamp
                if logit < -clamp:
                    logit = -clamp
                logits[uint64(h * n + p)] = logit
        if used == 0:
            for c in range(d):
                out[i * d + c] = float32(0.0)
            for h in range(H):
                lse[i * H + h] = float32(0.0)
            if weights.size > 0:
                weights[begin * H : (begin + n) * H] = float32(0.0)
            continue
        for b in range(0, n, BLOCK):
            stop = min(b + BLOCK, n)
            if b == 0:
                # The soft-max of the whole row; only weighted sums are blocked.
                for h in range(H):
                    top = float32(-np.inf)
                    for p in range(n):
                        x = logits[uint64(h * n + p)]
                        top = x if x > top else top
                    mass = 0.0
                    for p in range(n):
                        w = _exp(logits[uint64(h * n + p)] - top)
                        logits[uint64(h * n + p)] = w
                        mass += w
                    inverse = float32(1.0 / mass)
                    for p in range(n):
                        logits[uint64(h * n + p)] *= inverse
                    lse[i * H + h] = float32(top + np.log(mass))
            part[:] = float32(0.0)
            for p in range(b, stop):
                j = int64(source[uint64(begin + p)])
                if j < 0:
                    continue
                for h in range(H):
                    w = logits[uint64(h * n + p)]
                    _add_scaled(
                        part, uint64(h * C), w, value, uint64(j) * value_node + uint64(h) * value_head, C
                    )
            for c in range(d):
                total[c] += part[c]
        for c in range(d):
            out[uint64(i * d + c)] = float32(total[c])
        if weights.size > 0:
            for p in range(n):
                for h in range(H):
                    weights[uint64((begin + p) * H + h)] = logits[uint64(h * n + p)]
    return -1


@kernel()
def backward_rows(
    first: Any, last: Any, indptr: Any, source: Any, edge_type: Any, num_types: Any,
    query: Any, query_node: Any, query_head: Any, key: Any, key_node: Any, key_head: Any,
    value: Any, value_node: Any, value_head: Any, grad: Any, grad_node: Any, grad_head: Any,
    scale: Any, bias: Any, edge_bias: Any, inv_temperature: Any, clamp: Any, H: Any, C: Any,
    out: Any, lse: Any, delta: Any, grad_query: Any, grad_edge: Any, grad_scale: Any, grad_bias: Any,
) -> None:  # fmt: skip
    """Gradients that belong to target rows first..last: the query's, the edges', this chunk's of the tables."""
    d = H * C
    last_edge = uint64(max(indptr[last] - 1, 0))
    logits = np.empty(H * BLOCK, np.float32)
    drifts = np.empty(H * BLOCK, np.float32)
    scaled = np.empty(num_types * d, np.float32)
    part = np.empty(num_types * d, np.float32)
    seen = np.empty(num_types, np.bool_)
    fresh = np.empty(num_types, np.bool_)
    total = np.empty(d, np.float64)
    for i in range(first, last):
        begin = indptr[i]
        n = indptr[i + 1] - begin
        query_start = uint64(i) * query_node
        grad_start = uint64(i) * grad_node
        for h in range(H):
            delta[i * H + h] = _dot(
                grad, grad_start + uint64(h) * grad_head, out, uint64(i * d + h * C), C
            ) if n > 0 else float32(0.0)  # fmt: skip
        seen[:] = False
        total[:] = 0.0
        for b in range(0, n, BLOCK):
            m = min(BLOCK, n - b)
            fresh[:] = True
            for p in range(m):
                e = uint64(begin + b + p)
                ahead = int64(source[min(e + uint64(AHEAD), last_edge)])
                if ahead >= 0:
                    _ask(key, uint64(ahead) * key_node, key_head, H, C)
                    _ask(value, uint64(ahead) * value_node, value_head, H, C)
                j = int64(source[e])
                if j < 0:
                    for h in range(H):
                        logits[uint64(h * BLOCK + p)] = -np.inf
                        drifts[uint64(h * BLOCK + p)] = float32(0.0)
                    continue
                t = int64(edge_type[e])
                if not seen[t]:
                    seen[t] = True
                    _type_products(scaled, t, query, query_start, query_head, scale, H, C)
                if fresh[t]:
                    fresh[t] = False
                    part[t * d : (t + 1) * d] = float32(0.0)
                for h in range(H):
                    at = t * H + h
                    logit = _dot(scaled, uint64(at * C), key, uint64(j) * key_node + uint64(h) * key_head, C)
                    logit += bias[at]
                    if edge_bias.size > 0:
                        logit += edge_bias[e * uint64(H) + uint64(h)] * inv_temperature
                    logits[uint64(h * BLOCK + p)] = logit
                    drifts[uint64(h * BLOCK + p)] = _dot(
                        grad, grad_start + uint64(h) * grad_head,
                        value, uint64(j) * value_node + uint64(h) * value_head, C,
                    )  # fmt: skip
            for h in range(H):
                row_lse = lse[i * H + h]
                row_delta = delta[i * H + h]
                for p in range(m):
                    x = logits[uint64(h * BLOCK + p)]
                    y = clamp if x > clamp else x
                    y = -clamp if y < -clamp else y
                    g = _exp(y - row_lse) * (drifts[uint64(h * BLOCK + p)] - row_delta)
                    # Written so that a NaN logit stays NaN.
                    g = float32(0.0) if (x > clamp or x < -clamp) else g
                    drifts[uint64(h * BLOCK + p)] = g
            for p in range(m):
                e = uint64(begin + b + p)
                j = int64(source[e])
                if j < 0:
                    continue
                t = int64(edge_type[e])
                for h in range(H):
                    g = drifts[uint64(h * BLOCK + p)]
                    at = t * H + h
                    _add_scaled(part, uint64(at * C), g, key, uint64(j) * key_node + uint64(h) * key_head, C)
                    grad_bias[at] += g
                    if grad_edge.size > 0:
                        grad_edge[e * uint64(H) + uint64(h)] = g * inv_temperature
            for t in range(num_types):
                if fresh[t]:
                    continue
                for h in range(H):
                    start = query_start + uint64(h) * query_head
                    for c in range(C):
                        at_c = uint64((t * H + h) * C + c)
                        total[uint64(h * C + c)] += scale[at_c] * part[at_c]
                        grad_scale[at_c] += np.float64(query[start + uint64(c)]) * part[at_c]
        for c in range(d):
            grad_query[uint64(i * d + c)] = float32(total[c])


@kernel()
def backward_columns(
    first: Any, last: Any, indptr: Any, target: Any, edge_type: Any, edge_id: Any, num_types: Any,
    query: Any, query_node: Any, query_head: Any, key: Any, key_node: Any, key_head: Any,
    value: Any, value_node: Any, value_head: Any, grad: Any, grad_node: Any, grad_head: Any,
    scale: Any, bias: Any, edge_bias: Any, inv_temperature: Any, clamp: Any, H: Any, C: Any,
    lse: Any, delta: Any, grad_key: Any, grad_value: Any,
) -> None:  # fmt: skip
    """Gradients of the keys and values of source rows first..last: one writer per row, through the transpose."""
    d = H * C
    last_edge = uint64(max(indptr[last] - 1, 0))
    weights = np.empty(H * BLOCK, np.float32)
    drifts = np.empty(H * BLOCK, np.float32)
    deltas = np.empty(H * BLOCK, np.float32)
    lses = np.empty(H * BLOCK, np.float32)
    scaled = np.empty(num_types * d, np.float32)
    part = np.empty(num_types * d, np.float32)
    part_value = np.empty(d, np.float32)
    seen = np.empty(num_types, np.bool_)
    fresh = np.empty(num_types, np.bool_)
    total = np.empty(d, np.float64)
    total_value = np.empty(d, np.float64)
    for j in range(first, last):
        begin = indptr[j]
        n = indptr[j + 1] - begin
        key_start = uint64(j) * key_node
        value_start = uint64(j) * value_node
        seen[:] = False
        total[:] = 0.0
        total_value[:] = 0.0
        for b in range(0, n, BLOCK):
            m = min(BLOCK, n - b)
            fresh[:] = True
            part_value[:] = float32(0.0)
            for p in range(m):
                x_id = uint64(begin + b + p)
                ahead = uint64(target[min(x_id + uint64(AHEAD), last_edge)])
                _ask(query, ahead * query_node, query_head, H, C)
                _ask(grad, ahead * grad_node, grad_head, H, C)
                prefetch(lse, ahead * uint64(H))
                prefetch(delta, ahead * uint64(H))
                i = uint64(target[x_id])
                t = int64(edge_type[x_id])
                if not seen[t]:
                    seen[t] = True
                    _type_products(scaled, t, key, key_start, key_head, scale, H, C)
                if fresh[t]:
                    fresh[t] = False
                    part[t * d : (t + 1) * d] = float32(0.0)
                for h in range(H):
                    at = t * H + h
                    logit = _dot(scaled, uint64(at * C), query, i * query_node + uint64(h) * query_head, C)
                    logit += bias[at]
                    if edge_bias.size > 0:
                        e = uint64(edge_id[x_id])
                        logit += edge_bias[e * uint64(H) + uint64(h)] * inv_temperature
                    slot = uint64(h * BLOCK + p)
                    weights[slot] = logit
                    drifts[slot] = _dot(
                        value,
                        value_start + uint64(h) * value_head,
                        grad,
                        i * grad_node + uint64(h) * grad_head,
                        C,
                    )
                    lses[slot] = lse[i * uint64(H) + uint64(h)]
                    deltas[slot] = delta[i * uint64(H) + uint64(h)]
            for h in range(H):
                for p in range(m):
                    slot = uint64(h * BLOCK + p)
                    x = weights[slot]
                    y = clamp if x > clamp else x
                    y = -clamp if y < -clamp else y
                    w = _exp(y - lses[slot])
                    weights[slot] = w
                    g = w * (drifts[slot] - deltas[slot])
                    drifts[slot] = float32(0.0) if (x > clamp or x < -clamp) else g
            for p in range(m):
                x_id = uint64(begin + b + p)
                i = uint64(target[x_id])
                t = int64(edge_type[x_id])
                for h in range(H):
                    slot = uint64(h * BLOCK + p)
                    _add_scaled(
                        part, uint64((t * H + h) * C), drifts[slot],
                        query, i * query_node + uint64(h) * query_head, C,
                    )  # fmt: skip
                    _add_scaled(
                        part_value, uint64(h * C), weights[slot],
                        grad, i * grad_node + uint64(h) * grad_head, C,
                    )  # fmt: skip
            for t in range(num_types):
                if not fresh[t]:
                    for c in range(d):
                        total[uint64(c)] += scale[uint64(t * d + c)] * part[uint64(t * d + c)]
            for c in range(d):
                total_value[uint64(c)] += part_value[uint64(c)]
        for c in range(d):
            grad_key[uint64(j * d + c)] = float32(total[c])
            grad_value[uint64(j * d + c)] = float32(total_value[c])

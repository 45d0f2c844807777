"""Compiled loops of the samplers (numba). Private: their callers check arguments and hand out the rows.

The kernels run on one thread and release the interpreter lock, so plain Python threads run them side by side.
numba's own thread pool is not used: it may not be entered after a fork (a DataLoader worker) and, without
TBB, not by two threads at once.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from graphgps_ext.ops.numba_threads import kernel
from graphgps_ext.sampling.random import GOLDEN, MIX_1, MIX_2, NODE_STEP, UNIFORM_BITS

WEIGHTED, UNIFORM, TOP = 0, 1, 2
KEY_BITS_DROPPED = 22  # of a key's float64; see `neighbors_torch`, where the row takes their place

_GOLDEN, _NODE_STEP = np.uint64(GOLDEN), np.uint64(NODE_STEP)
_MIX_1, _MIX_2 = np.uint64(MIX_1), np.uint64(MIX_2)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)
_UNIFORM_SHIFT = np.uint64(64 - UNIFORM_BITS)
_UNIFORM_SCALE = 2.0**-UNIFORM_BITS
_KEY_MASK = np.int64(-(2**KEY_BITS_DROPPED))
_INT64_MAX = np.int64(2**63 - 1)
_LANES = 8
_CAPACITY = 32
_SLACK = 1.0 + 1e-9  # far above the rounding of a logarithm, far below what pruning gains


@njit(inline='always')
def mix(value):  # type: ignore[no-untyped-def]
    value = (value ^ (value >> _30)) * _MIX_1
    value = (value ^ (value >> _27)) * _MIX_2
    return value ^ (value >> _31)


@njit(inline='always')
def row_key(mixed_key, node):  # type: ignore[no-untyped-def]
    return mix((np.uint64(node) * _NODE_STEP) ^ mixed_key)


@njit(inline='always')
def uniform(row, slot):  # type: ignore[no-untyped-def]
    bits = mix(row + np.uint64(slot + 1) * _GOLDEN)
    return (np.float64(bits >> _UNIFORM_SHIFT) + 0.5) * _UNIFORM_SCALE


@njit(inline='always')
def _keep_smallest(size, count, keys, bits, slots, limits):  # type: ignore[no-untyped-def]
    """Reduces `count` entries, ascending by slot, to the `size` with the smallest keys, still ascending by slot.

    An entry's rank is counted against all others, without a branch that a processor could mispredict.
    """
    for i in range(count):  # the entry's number takes the place of the dropped bits: no two keys are equal
        bits[i] = (bits[i] & _KEY_MASK) | np.int64(i)
    padded = (count + _LANES - 1) // _LANES * _LANES
    for i in range(count, padded):
        bits[i] = _INT64_MAX
    kept = 0
    for i in range(count):
        rank = 0
        for j in range(padded):
            rank += bits[j] < bits[i]
        if rank == size - 1:
            limits[0] = keys[i]
        slots[kept] = slots[i]
        limits[1 + kept] = keys[i]
        kept += rank < size
    for i in range(size):
        keys[i] = limits[1 + i]
    return size


@njit(inline='always')
def _reservoir(  # type: ignore[no-untyped-def]
    weights, use_weights, strategy, row, begin, end, size, keys, bits, lower, slots, limits
):
    """Slots of the K smallest keys −log(u)/w among the edges begin..end, ascending; their number.

    −log(u) ≥ 1 − u, so most edges of a long row are turned down without a logarithm. −1: a bad weight.
    """
    capacity = slots.size
    count = scored = 0
    limits[0] = np.inf  # the greatest key kept, once there are K
    edge = begin
    while edge < end:
        bound = limits[0] * _SLACK
        stop = min(end, edge + capacity - count)
        while edge < stop:
            weight = np.float64(weights[edge]) if use_weights else 1.0
            if not 0.0 <= weight < np.inf:
                return -1
            slot = edge - begin
            least = 1.0 if strategy == TOP else 1.0 - uniform(row, slot)
            keys[count], lower[count], slots[count] = weight, least, slot
            count += least <= bound * weight  # false for a weight of 0: inf * 0 is NaN
            edge += 1
        if edge == end or count > capacity - capacity // 4:
            if count <= size:
                continue
            for i in range(scored, count):
                exponential = 1.0 if strategy == TOP else -math.log(1.0 - lower[i])
                keys[i] = exponential / keys[i]
            scored = count = _keep_smallest(size, count, keys, bits, slots, limits)
    return count


@njit(inline='always')
def _all_drawable(weights, use_weights, begin, end, slots):  # type: ignore[no-untyped-def]
    """Slots of all edges of positive weight of a short row; their number, −1: a bad weight."""
    count = 0
    for edge in range(begin, end):
        weight = np.float64(weights[edge]) if use_weights else 1.0
        if not 0.0 <= weight < np.inf:
            return -1
        if weight > 0.0:
            slots[count] = edge - begin
            count += 1
    return count


@kernel(fastmath=False)
def draw_rows(  # type: ignore[no-untyped-def]
    indptr, source, edge_type, weights, use_weights, nodes, whole, first, last,
    strategy, repeat, mixed_key, neighbors, types, edge_id,
):  # fmt: skip
    """Fills rows first..last of the three [N, K] outputs; returns the first row with a bad weight, or −1."""
    degree = neighbors.shape[1]
    capacity = _CAPACITY * ((2 * degree + _CAPACITY - 1) // _CAPACITY)
    keys = np.empty(capacity, np.float64)
    bits = keys.view(np.int64)
    lower = np.empty(capacity, np.float64)
    slots = np.empty(capacity, np.int64)
    limits = np.empty(capacity + 1, np.float64)
    cumulative = np.empty(degree, np.float64)
    for i in range(first, last):
        node = i if whole else nodes[i]
        begin, end = indptr[node], indptr[node + 1]
        row = row_key(mixed_key, node)
        if end - begin <= degree:
            count = _all_drawable(weights, use_weights, begin, end, slots)
        else:
            count = _reservoir(
                weights, use_weights, strategy, row, begin, end, degree, keys, bits, lower, slots, limits
            )
        if count < 0:
            return i
        for k in range(count):
            edge = begin + slots[k]
            neighbors[i, k], types[i, k], edge_id[i, k] = source[edge], edge_type[edge], edge
        if count == 0 or not repeat:
            for k in range(count, degree):
                neighbors[i, k], types[i, k], edge_id[i, k] = -1, 0, -1
        elif count < degree:
            total = 0.0
            for k in range(count):
                total += np.float64(weights[begin + slots[k]]) if use_weights else 1.0
                cumulative[k] = total
            for k in range(count, degree):
                # slots of the row's own edges are below end - begin, so this number is a fresh one
                at = uniform(row, end - begin + k) * total
                pick = 0
                while pick < count - 1 and cumulative[pick] <= at:
                    pick += 1
                neighbors[i, k], types[i, k], edge_id[i, k] = (
                    neighbors[i, pick],
                    types[i, pick],
                    edge_id[i, pick],
                )
    return -1


@kernel(fastmath=False)
def relabel(neighbors, local_id, n_id, num_known, out):  # type: ignore[no-untyped-def]
    """Local ids of `neighbors` in order of first appearance; returns how many nodes are known afterwards.

    local_id [num_nodes] holds local id + 1, 0 = not seen yet; n_id is its inverse. Both are extended.
    """
    flat, flat_out = neighbors.reshape(-1), out.reshape(-1)
    for i in range(flat.size):
        node = flat[i]
        if node < 0:
            flat_out[i] = -1
            continue
        if local_id[node] == 0:
            n_id[num_known] = node
            num_known += 1
            local_id[node] = num_known
        flat_out[i] = local_id[node] - 1
    return num_known

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
_STRIDE = 4
_WINDOW = 8
_LEAST_MASS = 2.0**-24  # of a row: what is left of a running sum then still has 29 bits
_LONG_ROW = 2  # times K: from there on draws one by one beat the pass over the row
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
    """Reduces `count` entries, ascending by slot, to the `size` with the smallest keys, in the same order.

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


@njit
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


@njit(inline='always')
def _guide_start(node, begin):  # type: ignore[no-untyped-def]
    """Where the guide of a row begins: room for one entry per _STRIDE edges and two more."""
    return begin // _STRIDE + 2 * node


@njit(inline='always')
def _search(prefix, low, high, value):  # type: ignore[no-untyped-def]
    """The first of prefix[low:high] above `value`; `high` if there is none."""
    while low < high:
        middle = (low + high) >> 1
        if prefix[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(inline='always')
def _edge_at(prefix, guide, guide_start, begin, end, u):  # type: ignore[no-untyped-def]
    """The edge at share `u` of the mass of its row. An edge without mass is at none."""
    buckets = (end - begin + _STRIDE - 1) // _STRIDE
    bucket = guide_start + np.int64(u * buckets)
    low, high = begin + guide[bucket], begin + guide[bucket + 1]
    value = u * prefix[end - 1]
    if high - low > _WINDOW:
        return _search(prefix, low, high, value)
    edge = low
    for i in range(_WINDOW):  # no jump depends on what is read, so reads of several calls run side by side
        edge += low + i < high and prefix[low + i] <= value
    return edge


@njit
def _one_by_one(  # type: ignore[no-untyped-def]
    weights, prefix, guide, guide_start, row, begin, end, size, keys, bits, lower, slots, limits
):
    """K slots drawn one after another by the running sums of their row, ascending; their number.

    First K draws with replacement, of which repeats are dropped. What is then missing comes from the line of
    all weights with the chosen ones cut out: a point is moved past those before it and its edge looked up.
    Where little is left the sums lack digits, and the reservoir draws the rest. Each step is exact given what
    was chosen before it, so the whole has the law of the reservoir.
    """
    length = end - begin
    masses, starts = keys, lower
    total = prefix[end - 1]
    count = 0
    if total > 0.0:
        for k in range(size):
            u = uniform(row, length + size + k)
            slots[k] = _edge_at(prefix, guide, guide_start, begin, end, u) - begin
        slots[:size].sort()
        for k in range(size):
            if count == 0 or slots[k] != slots[count - 1]:
                slots[count] = slots[k]
                count += 1
        if count == size:
            return count
    left = total
    for k in range(count):
        starts[k] = prefix[begin + slots[k] - 1] if slots[k] > 0 else 0.0
        masses[k] = prefix[begin + slots[k]] - starts[k]
        left -= masses[k]
    for attempt in range(2 * size + 8):  # K, but for a point that rounding puts on a chosen edge
        if count == size or left <= total * _LEAST_MASS:
            break
        point = uniform(row, length + 2 * size + attempt) * left
        place = 0
        while place < count and point >= starts[place]:
            point += masses[place]
            place += 1
        if point >= total:
            continue
        slot = _search(prefix, begin, end-1, point) - begin
        if (place > 0 and slots[place - 1] == slot) or (place < count and slots[place] == slot):
            continue
        for i in range(count, place, -1):
            slots[i], starts[i], masses[i] = slots[i - 1], starts[i - 1], masses[i - 1]
        slots[place] = slot
        starts[place] = prefix[begin + slot - 1] if slot > 0 else 0.0
        masses[place] = prefix[begin + slot] - starts[place]
        left -= masses[place]
        count += 1
    if count < size:
        chosen = slots[:count].copy()
        rest = weights[begin:end].copy()
        rest[chosen] = 0.0
        more = _reservoir(rest, True, WEIGHTED, row, 0, length, size - count, keys, bits, lower, slots, limits)
        slots[more : more + count] = chosen
        count += more
        slots[:count].sort()
    return count


@kernel(fastmath=False)
def sum_rows(indptr, weights, first, last, prefix, guide):  # type: ignore[no-untyped-def]
    """Running sums of the weights within rows first..last and their guides; the first bad row, or −1.

    Entry b of the guide of a row is its slot at share b / buckets of its mass.
    """
    for node in range(first, last):
        begin, end = indptr[node], indptr[node + 1]
        total = 0.0
        slot_last = 0
        for edge in range(begin, end):
            weight = np.float64(weights[edge])
            if not 0.0 <= weight < np.inf:
                return node
            if total + weight > total:
                slot_last = edge - begin
            total += weight
            prefix[edge] = total
        start = _guide_start(node, begin)
        buckets = (end - begin + _STRIDE - 1) // _STRIDE
        slot = 0
        for bucket in range(buckets):
            while slot < slot_last and prefix[begin + slot] <= total * bucket / buckets:
                slot += 1
            guide[start + bucket] = slot
        guide[start + buckets] = slot_last
    return -1


@kernel(fastmath=False)
def draw_rows(  # type: ignore[no-untyped-def]
    indptr, source, edge_type, weights, use_weights, prefix, guide, nodes, whole, first, last,
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
        elif prefix.size and end - begin >= _LONG_ROW * degree:
            count = _one_by_one(
                weights, prefix, guide, _guide_start(node, begin), row, begin, end, degree, keys, bits, lower, slots, limits
            )
        else:
            count = _reservoir(
                weights, use_weights, strategy, row, begin, end, degree, keys, bits, lower, slots, limits
            )
        if count < 0:
            return i
        for k in range(count):
            edge = begin + slots[k]
            edge_id[i, k] = edge
        if count == 0 or not repeat:
            for k in range(count, degree):
                edge_id[i, k] = -1
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
                edge_id[i, k] = edge_id[i, pick]
    for i in range(first, last):
        for k in range(degree):
            edge = edge_id[i, k]
            neighbors[i, k] = source[edge] if edge >= 0 else -1
            types[i, k] = edge_type[edge] if edge >= 0 else 0
    return -1

"""Compiled loops of the draw (numba). Private: `neighbors_numba` checks nothing again and hands out the rows.

All in one file: numba's cache on disk notices a change only in the file of the cached function itself.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np
from numba import njit

from graphgps_ext.ops.numba_threads import kernel
from graphgps_ext.sampling.random import GOLDEN, MIX_1, MIX_2, NODE_STEP, UNIFORM_BITS

WEIGHTED, UNIFORM, TOP = 0, 1, 2

_GOLDEN, _NODE_STEP = np.uint64(GOLDEN), np.uint64(NODE_STEP)
_MIX_1, _MIX_2 = np.uint64(MIX_1), np.uint64(MIX_2)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)
_UNIFORM_SHIFT = np.uint64(64 - UNIFORM_BITS)
_UNIFORM_SCALE = 2.0**-UNIFORM_BITS
_KEY_MASK = np.int64(-(2**22))  # what of a key's float64 counts: exponent and 30 bits, as in `triton_kernels`
_52, _SQRT_HALF_BITS, _LOG_2 = np.int64(52), np.float64(0.5**0.5).view(np.int64), math.log(2.0)
_INT64_MAX = np.int64(2**63 - 1)
_SLACK = 1.0 + 1e-8  # above the rounding of a logarithm and of a key, far below what pruning gains

# Not measured one by one: _CAPACITY, _BLOCK and STRIDE.
_CAPACITY = 32  # entries of a reservoir, in multiples of this, at least 2 K
_LANES = 8  # int64 in a vector register: ranks are counted in whole registers
# Times K: longer rows are drawn one by one from running sums instead of in a pass over them. In
# docs/performance.md K = 10 takes 1.58 us a row that way against 1.37 at degree 100, 1.63 against 2.24 at
# 200: 8 is rather low, but another number makes other draws.
LONG_ROW = 8
_LEAST_MASS = 2.0**-24  # share of a row's mass; if less is left, running sums hold fewer than 29 bits of it
_BLOCK = 32  # rows looked up together
STRIDE = 4  # edges of a row per entry of its guide

# The arguments of `draw_rows`, as plain tuples: numba takes longer to find out the type of a named one.
Edges = namedtuple('Edges', 'indptr source edge_type')
Weights = namedtuple('Weights', 'values given prefix guide')  # no running sums: `prefix` has no entries
Draw = namedtuple('Draw', 'nodes whole strategy repeat mixed_key')  # `whole`: all nodes, `nodes` is not read
Scratch = namedtuple('Scratch', 'keys bits lower slots kept low high mass edges')


@njit(inline='always')
def mix(value):
    value = (value ^ (value >> _30)) * _MIX_1
    value = (value ^ (value >> _27)) * _MIX_2
    return value ^ (value >> _31)


@njit(inline='always')
def row_key(mixed_key, node):
    return mix((np.uint64(node) * _NODE_STEP) ^ mixed_key)


@njit(inline='always')
def uniform(row, slot):
    bits = mix(row + np.uint64(slot + 1) * _GOLDEN)
    return (np.float64(bits >> _UNIFORM_SHIFT) + 0.5) * _UNIFORM_SCALE


@njit
def _make_scratch(degree):
    capacity = _CAPACITY * ((2 * degree + _CAPACITY - 1) // _CAPACITY)
    keys = np.empty(capacity, np.float64)
    rows = (_BLOCK, degree)
    return Scratch(
        keys=keys,
        bits=keys.view(np.int64),
        lower=np.empty(capacity, np.float64),
        slots=np.empty(capacity, np.int64),
        kept=np.empty(capacity, np.float64),
        low=np.empty(rows, np.int64),
        high=np.empty(rows, np.int64),
        mass=np.empty(rows, np.float64),
        edges=np.empty(rows, np.int64),
    )


@njit(inline='always')
def _keep_smallest(size, count, scratch):
    """Reduces `count` entries to the `size` with the smallest keys, in the same order; the largest key kept.

    An entry's rank is counted against all others, without a branch that a processor could mispredict.
    """
    bits = scratch.bits
    for i in range(count):  # the entry's number takes the place of the dropped bits: no two keys are equal
        bits[i] = (bits[i] & _KEY_MASK) | np.int64(i)
    padded = (count + _LANES - 1) // _LANES * _LANES
    for i in range(count, padded):
        bits[i] = _INT64_MAX
    limit = 0.0
    kept = 0
    for i in range(count):
        rank = 0
        for j in range(padded):
            rank += bits[j] < bits[i]
        limit = scratch.keys[i] if rank == size - 1 else limit
        scratch.kept[kept] = scratch.keys[i]
        scratch.slots[kept] = scratch.slots[i]
        kept += rank < size
    for i in range(size):
        scratch.keys[i] = scratch.kept[i]
    return limit


@njit(inline='always')
def _minus_log(u):
    """−log(u) for u in (0, 1), but for its last two bits; unlike the library's it runs on whole vectors.

    u = m·2^e with m between √½ and √2, and log(m) = 2·artanh(s) = 2·(s + s³/3 + s⁵/5 + ...), s = (m−1)/(m+1).
    """
    bits = np.float64(u).view(np.int64)
    exponent = (bits - _SQRT_HALF_BITS) >> _52
    m = np.int64(bits - (exponent << _52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = z * (2 / 21) + 2 / 19  # written out: a loop over the numbers would not be put on vectors
    series = ((series * z + 2 / 17) * z + 2 / 15) * z + 2 / 13
    series = ((series * z + 2 / 11) * z + 2 / 9) * z + 2 / 7
    series = ((series * z + 2 / 5) * z + 2 / 3) * z + 2.0
    return -(np.float64(exponent) * _LOG_2 + s * series)


@njit(error_model='numpy')
def _score(keys, lower, first, last, strategy):
    """Weights become keys; `lower` is 1 − u. Bounds are unsigned: else these loops stay off the vectors."""
    if strategy == TOP:
        for i in range(first, last):
            keys[i] = 1.0 / keys[i]
    else:
        for i in range(first, last):
            keys[i] = _minus_log(1.0 - lower[i]) / keys[i]


@njit(error_model='numpy')
def _reservoir(weights, use_weights, strategy, row, begin, end, size, scratch):
    """Slots of the K smallest keys −log(u)/w among the edges begin..end, ascending; their number.

    −log(u) ≥ 1 − u, so most edges of a long row are turned down without a logarithm. −1: a bad weight.
    """
    keys, lower, slots = scratch.keys, scratch.lower, scratch.slots
    capacity = slots.size
    count = scored = 0
    bound = np.inf  # a little more than the greatest key kept, once there are K
    edge = begin
    while edge < end:
        stop = min(end, edge + capacity - count)
        while edge < stop:
            weight = np.float64(weights[edge]) if use_weights else 1.0
            if not 0.0 <= weight < np.inf:
                return -1
            least = 1.0 if strategy == TOP else 1.0 - uniform(row, edge - begin)
            keys[count], lower[count], slots[count] = weight, least, edge - begin
            count += least <= bound * weight  # false for a weight of 0: inf * 0 is NaN
            edge += 1
        if count > size and (edge == end or count > capacity - capacity // 4):
            _score(keys, lower, np.uint64(scored), np.uint64(count), strategy)
            bound = _keep_smallest(size, count, scratch) * _SLACK
            scored = count = size
    return count


@njit(inline='always')
def _all_drawable(weights, use_weights, begin, end, slots):
    """Slots of all edges of positive weight of a row of at most K edges; their number, −1: a bad weight."""
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
def _guide_start(node, begin):
    """Where the guide of a row begins: there is room for an entry per STRIDE edges and two more."""
    return begin // STRIDE + 2 * node


@kernel(fastmath=False)
def sum_rows(indptr, weights, first, last, prefix, guide):
    """Running sums of the weights within rows first..last, and their guides; the first bad row, or −1.

    Entry b of a guide is the slot at share b / buckets of the row's mass.
    """
    for node in range(first, last):
        begin, end = indptr[node], indptr[node + 1]
        total = 0.0
        last_slot = 0  # the last one with a mass
        for edge in range(begin, end):
            weight = np.float64(weights[edge])
            if not 0.0 <= weight < np.inf:
                return node
            if total + weight > total:
                last_slot = edge - begin
            total += weight
            prefix[edge] = total
        start = _guide_start(node, begin)
        buckets = (end - begin + STRIDE - 1) // STRIDE
        slot = 0
        for bucket in range(buckets):
            while slot < last_slot and prefix[begin + slot] <= total * bucket / buckets:
                slot += 1
            guide[start + bucket] = slot
        guide[start + buckets] = last_slot
    return -1


@njit(inline='always')
def _first_above(prefix, low, high, value):
    """The first of prefix[low:high] above `value`; `high` if there is none."""
    while low < high:
        middle = (low + high) >> 1
        if prefix[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def _draw_with_replacement(indptr, prefix, guide, nodes, whole, first, last, mixed_key, scratch):
    """K edges of each long row of first..last in proportion to the weights, into scratch.edges.

    Each random number names an entry of the guide, which leaves a few edges to compare. Several rows are
    looked up together and few jumps depend on what is read: many reads are under way at once, instead of one.
    """
    low, high, mass, edges = scratch.low, scratch.high, scratch.mass, scratch.edges
    size = edges.shape[1]
    high[:] = 0
    low[:] = 0
    for i in range(first, last):
        node = i if whole else nodes[i]
        begin, end = indptr[node], indptr[node + 1]
        if end - begin < LONG_ROW * size:
            continue
        row = row_key(mixed_key, node)
        start = _guide_start(node, begin)
        buckets = (end - begin + STRIDE - 1) // STRIDE
        total = prefix[end - 1]
        for k in range(size):
            u = uniform(row, end - begin + size + k)
            bucket = start + min(np.int64(u * buckets), buckets - 1)
            low[i - first, k], high[i - first, k] = begin + guide[bucket], begin + guide[bucket + 1]
            mass[i - first, k] = u * total
    for i in range(last - first):
        for k in range(size):
            edges[i, k] = _first_above(prefix, low[i, k], high[i, k], mass[i, k])


@njit
def _one_by_one(weights, prefix, edges, row, begin, end, size, scratch):
    """K slots drawn one after another by the running sums of their row, ascending; their number.

    `edges` holds K draws with replacement, of which repeats are dropped. What is then missing comes from the
    line of all weights with the chosen ones cut out: a point is moved past those before it, and its edge is
    looked up. Where little is left the sums lack digits, and the reservoir draws the rest. Each step is exact
    given what was chosen before it, so the whole has the law of the reservoir.
    """
    masses, starts, slots = scratch.keys, scratch.lower, scratch.slots
    length = end - begin
    total = left = prefix[end - 1]
    count = 0
    if total > 0.0:
        for k in range(size):
            slots[k] = edges[k] - begin
        slots[:size].sort()
        for k in range(size):
            if count == 0 or slots[k] != slots[count - 1]:
                slots[count] = slots[k]
                count += 1
        if count == size:
            return count
    for k in range(count):
        starts[k] = prefix[begin + slots[k] - 1] if slots[k] > 0 else 0.0
        masses[k] = prefix[begin + slots[k]] - starts[k]
        left -= masses[k]
    for attempt in range(2 * size):  # more than K only because rounding may put a point on a chosen edge
        if count == size or left <= total * _LEAST_MASS:
            break
        point = uniform(row, length + 2 * size + attempt) * left
        place = 0
        while place < count and point >= starts[place]:
            point += masses[place]
            place += 1
        slot = _first_above(prefix, begin, end, point) - begin
        if (
            slot == length
            or (place > 0 and slots[place - 1] == slot)
            or (place < count and slots[place] == slot)
        ):
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
        more = _reservoir(rest, True, WEIGHTED, row, 0, length, size - count, scratch)
        slots[more : more + count] = chosen
        count += more
        slots[:count].sort()
    return count


@kernel(fastmath=False)
def draw_rows(first, last, edges, weights, draw, neighbors, types, edge_id):
    """Fills rows first..last of the three [N, K] outputs; returns the first row with a bad weight, or −1."""
    indptr, source, edge_type = edges
    weights, use_weights, prefix, guide = weights
    nodes, whole, strategy, repeat, mixed_key = draw
    degree = neighbors.shape[1]
    scratch = _make_scratch(degree)
    slots, cumulative = scratch.slots, scratch.kept
    for i in range(first, last):
        in_block = (i - first) % _BLOCK
        if prefix.size > 0 and in_block == 0:
            block_end = min(i + _BLOCK, last)
            _draw_with_replacement(indptr, prefix, guide, nodes, whole, i, block_end, mixed_key, scratch)
        node = i if whole else nodes[i]
        begin, end = indptr[node], indptr[node + 1]
        row = row_key(mixed_key, node)
        if end - begin <= degree:
            count = _all_drawable(weights, use_weights, begin, end, slots)
        elif prefix.size > 0 and end - begin >= LONG_ROW * degree:
            count = _one_by_one(weights, prefix, scratch.edges[in_block], row, begin, end, degree, scratch)
        else:
            count = _reservoir(weights, use_weights, strategy, row, begin, end, degree, scratch)
        if count < 0:
            return i
        for k in range(degree):
            edge_id[i, k] = begin + slots[k] if k < count else -1
        if repeat and 0 < count < degree:
            total = 0.0
            for k in range(count):
                total += np.float64(weights[begin + slots[k]]) if use_weights else 1.0
                cumulative[k] = total
            for k in range(count, degree):
                # the row's own edges have slots below end - begin, so this number is a fresh one
                at = uniform(row, end - begin + k) * total
                pick = 0
                while pick < count - 1 and cumulative[pick] <= at:
                    pick += 1
                edge_id[i, k] = edge_id[i, pick]
    for i in range(first, last):  # a loop of its own, so that its scattered reads overlap
        for k in range(degree):
            edge = edge_id[i, k]
            neighbors[i, k] = source[edge] if edge >= 0 else -1
            types[i, k] = edge_type[edge] if edge >= 0 else 0
    return -1

"""The kernels of the draw for CUDA, in Triton.

A program draws R rows at a time, BE edges of each per step. The K smallest keys of a row so far stay in
registers; a step adds its smallest key, then the next one, until none is below the largest of those kept.
Most steps of a long row thus add nothing, and nothing of size E is stored.
"""

from __future__ import annotations

import triton
import triton.language as tl

from graphgps_ext.sampling import random

GOLDEN, NODE_STEP = tl.constexpr(random.GOLDEN), tl.constexpr(random.NODE_STEP)
MIX_1, MIX_2 = tl.constexpr(random.MIX_1), tl.constexpr(random.MIX_2)
TWO_PARTS = tl.constexpr(random.mix_int(2))  # where `stream_key` of two parts starts
UNIFORM_SHIFT = tl.constexpr(64 - random.UNIFORM_BITS)
UNIFORM_SCALE = tl.constexpr(2.0**-random.UNIFORM_BITS)
# Of a key's float64, which is positive, exponent and 30 bits count, as on the CPU; below them there is room
# for the place of an edge within its step. Equal keys thus come in the order of the edges.
PLACE_BITS, PLACE_MASK = tl.constexpr(22), tl.constexpr(2**22 - 1)
NO_KEY = tl.constexpr(2**41 - 1)  # above every key, infinity included
LAST = tl.constexpr(2**63 - 1)


@triton.jit
def _mix(x):
    x = (x ^ (x >> 30)) * MIX_1
    x = (x ^ (x >> 27)) * MIX_2
    return x ^ (x >> 31)


@triton.jit
def _uniform(stream, slot):
    bits = _mix(stream + (slot + 1).to(tl.uint64) * GOLDEN)
    return ((bits >> UNIFORM_SHIFT).to(tl.float64) + 0.5) * UNIFORM_SCALE


@triton.jit(do_not_specialize=['part'])
def derive_key(key, part, out):
    """`stream_key(key, part)` of a key on the device."""
    first = _mix((tl.load(key).to(tl.uint64) ^ TWO_PARTS) + GOLDEN)
    tl.store(out, _mix((first ^ part.to(tl.int64).to(tl.uint64)) + GOLDEN).to(tl.int64))


@triton.jit
def _smallest_keys(
    weights, stream, begin, length, mine, row, bad_row,
    K: tl.constexpr, TOP: tl.constexpr, R: tl.constexpr, BE: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Slots [R, BK] of the K smallest keys of each row, ascending, and their number; `LAST` fills the rest.

    `bad_row`, if given, is lowered to the first row with a bad weight.
    """
    k = tl.arange(0, BK)[None, :]
    place = tl.arange(0, BE)[None, :]
    # Empty entries have slots of their own, so that they are replaced one at a time; those from K on never.
    kept = tl.where(k < K, NO_KEY, -1).to(tl.int64) + tl.zeros([R, BK], tl.int64)
    slots = k.to(tl.int64) + tl.zeros([R, BK], tl.int64)
    longest = tl.max(tl.where(mine, length, 0))
    for start in range(0, longest, BE):
        slot = start + place.to(tl.int64)
        edge = mine[:, None] & (slot < length[:, None])
        if weights is None:
            weight = tl.where(edge, 1.0, 0.0).to(tl.float64)
        else:
            weight = tl.load(weights + begin[:, None] + slot, mask=edge, other=0.0).to(tl.float64)
        drawable = (weight > 0.0) & (weight < float('inf'))
        if bad_row is not None:
            bad = edge & ~drawable & (weight != 0.0)
            tl.atomic_min(bad_row, tl.min(tl.where(tl.max(bad.to(tl.int32), 1) > 0, row, LAST)))
        weight = tl.where(drawable, weight, 1.0)
        if TOP:
            key = 1.0 / weight
        else:
            key = -tl.log(_uniform(stream[:, None], slot)) / weight
        packed = (key.to(tl.int64, bitcast=True) & ~PLACE_MASK) | place
        packed = tl.where(drawable, packed, LAST)
        smallest = tl.min(packed, 1)
        largest = tl.max(kept, 1)
        better = (smallest >> PLACE_BITS) < largest
        while tl.max(better.to(tl.int32)) > 0:
            out = kept == largest[:, None]
            out = out & (slots == tl.max(tl.where(out, slots, -1), 1)[:, None]) & better[:, None]
            kept = tl.where(out, (smallest >> PLACE_BITS)[:, None], kept)
            slots = tl.where(out, (start + (smallest & PLACE_MASK))[:, None], slots)
            packed = tl.where(packed == smallest[:, None], LAST, packed)
            smallest = tl.min(packed, 1)
            largest = tl.max(kept, 1)
            better = (smallest >> PLACE_BITS) < largest
    drawn = (kept >= 0) & (kept != NO_KEY)
    left, ascending = tl.where(drawn, slots, LAST), slots
    for j in range(K):
        first = tl.min(left, 1)[:, None]
        ascending = tl.where(k == j, first, ascending)
        left = tl.where(left == first, LAST, left)
    return ascending, tl.sum(drawn.to(tl.int32), 1)


@triton.jit
def _with_repeats(weights, stream, edges, length, count, K: tl.constexpr, R: tl.constexpr, BK: tl.constexpr):
    """Edges [R, BK] whose first `count` of K are drawn, the others filled by draws with replacement."""
    k = tl.arange(0, BK)[None, :]
    own = k < count[:, None]
    if weights is None:
        weight = tl.where(own, 1.0, 0.0).to(tl.float64)
    else:
        weight = tl.load(weights + edges, mask=own, other=0.0).to(tl.float64)
    # One after another, so that sums are rounded as on the CPU.
    total = tl.zeros([R], tl.float64)
    for j in range(K):
        total += tl.sum(tl.where(k == j, weight, 0.0), 1)
    # The row's own edges have slots below its length: these numbers are fresh ones.
    at = _uniform(stream[:, None], length[:, None] + k) * total[:, None]
    sum_before = tl.zeros([R], tl.float64)
    pick = edges
    for j in range(K):
        edge = tl.sum(tl.where(k == j, edges, 0), 1)
        reached = (j < count)[:, None] & (sum_before[:, None] <= at)
        pick = tl.where(reached & ~own, edge[:, None], pick)
        sum_before += tl.sum(tl.where(k == j, weight, 0.0), 1)
    return pick


@triton.jit(do_not_specialize=['num_rows'])
def draw_rows(
    indptr, source, edge_type, weights, nodes, key, bad_row, num_rows, out_source, out_type, out_edge,
    K: tl.constexpr, TOP: tl.constexpr, REPEAT: tl.constexpr, HUB: tl.constexpr, HUBS: tl.constexpr,
    ROWS: tl.constexpr, R: tl.constexpr, BE: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Draws ROWS rows of the tables [num_rows, K]: those of more than HUB edges (HUBS), or all others.

    `nodes` None: row i is that of node i. `weights` None: all are 1.
    """
    stream_of_all = _mix(tl.load(key).to(tl.uint64))
    k = tl.arange(0, BK)[None, :]
    for group in range(0, ROWS, R):
        row = tl.program_id(0).to(tl.int64) * ROWS + group + tl.arange(0, R)
        live = row < num_rows
        if nodes is None:
            node = row
        else:
            node = tl.load(nodes + row, mask=live, other=0)
        begin = tl.load(indptr + node, mask=live, other=0)
        length = tl.load(indptr + node + 1, mask=live, other=0) - begin
        mine = live & ((length > HUB) == HUBS)
        if tl.max(mine.to(tl.int32)) > 0:
            stream = _mix((node.to(tl.uint64) * NODE_STEP) ^ stream_of_all)
            slots, count = _smallest_keys(
                weights, stream, begin, length, mine, row, bad_row, K, TOP, R, BE, BK
            )
            edges = begin[:, None] + tl.where(k < count[:, None], slots, 0)
            filled = count
            if REPEAT:
                if tl.max((mine & (count > 0) & (count < K)).to(tl.int32)) > 0:
                    edges = _with_repeats(weights, stream, edges, length, count, K, R, BK)
                filled = tl.where(count > 0, K, 0)
            taken = k < filled[:, None]
            write = mine[:, None] & (k < K)
            at = row[:, None] * K + k
            read = write & taken
            tl.store(out_source + at, tl.load(source + edges, mask=read, other=-1), mask=write)
            tl.store(out_type + at, tl.load(edge_type + edges, mask=read, other=0), mask=write)
            tl.store(out_edge + at, tl.where(taken, edges, -1), mask=write)

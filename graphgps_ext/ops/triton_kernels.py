"""The attention operator's kernels for CUDA, in Triton.

A program works on a tile of BN segments x BH heads, BE edges of each at a time. A segment is a row of at most
S edges. A longer row is cut where the edges' positions are multiples of S, and its segments' results are
merged afterwards, so no program is left with a hub alone: segment s < num_rows begins row s, segment
num_rows - 1 + n begins at edge n * S, if that lies inside of a row which is cut. Each of the tile's
R = BN * BH lines keeps BE soft-maxes of its own which meet only at the end: the loop over edges needs no
exchange between threads except the sum over channels.

Offsets are int64. The tables are `scale` [T, H, C], which is multiplied by FACTOR = 1 / sqrt(C), and `bias`
[T, H], both float32. A slot of -1 is empty. Sums run in float32 and in a fixed order. A tensor may be None
where nothing needs it. No integer is specialised, so that a kernel is compiled once for all sizes.
"""
# ruff: noqa: RUF005 - Triton's compiler knows no unpacking

from __future__ import annotations

import triton
import triton.language as tl

NO_MASS = tl.constexpr(-3.0e38)  # log-sum-exp of nothing: finite, so that differences are never NaN


@triton.jit
def _line(H, BN: tl.constexpr, BH: tl.constexpr):
    """Segment [R] and head [R] of each line of this program's tile; heads beyond H are idle."""
    r = tl.arange(0, BN * BH)
    return r // BH, tl.program_id(1) * BH + r % BH


@triton.jit
def _row_of(edge, indptr, num_rows, steps):
    """The row that holds an edge: the last one that begins at or before it; -1 if none does.

    `steps` is the bit length of num_rows: the steps of a binary search among num_rows + 1 results.
    """
    low = edge * 0
    high = low + num_rows
    for _ in range(steps):
        middle = (low + high) // 2
        after = tl.load(indptr + middle) > edge
        low = tl.where(after | (low == high), low, middle + 1)
        high = tl.where(after, middle, high)
    return low - 1


@triton.jit
def _edges(
    first, line, head, indptr, num_rows, num_segments, steps, H,
    K: tl.constexpr, S: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Row, begin and end of each segment first + line, the longest, and which segments exist.

    K > 0: the rows of a table, which are not cut.
    """
    segment = first + line
    live = (segment < num_segments) & (head < H)
    row = segment
    if K > 0:
        begin = row * K
        end = tl.where(live, begin + K, begin)
        longest = K
    else:
        leads = segment < num_rows
        cut = (segment - num_rows + 1) * S
        if first + BN > num_rows:
            row = tl.where(leads, segment, _row_of(cut, indptr, num_rows, steps))
        live = live & (row >= 0)
        start = tl.load(indptr + row, mask=live, other=0).to(tl.int64)
        stop = tl.load(indptr + row + 1, mask=live, other=0).to(tl.int64)
        long = stop - start > S
        live = live & (leads | (long & (start < cut) & (cut < stop)))
        begin = tl.where(leads, start, cut)
        end = tl.where(long, tl.minimum((begin // S + 1) * S, stop), stop)
        end = tl.where(live, end, begin)
        longest = tl.max(end - begin).to(tl.int32)
    return row, begin, end, longest, live


@triton.jit
def _first_cut(cut, indptr, num_rows, steps, S: tl.constexpr):
    """(row, its end, whether `cut` is the first of that row's cuts): who merges the row's segments."""
    row = _row_of(cut, indptr, num_rows, steps)
    begin = tl.load(indptr + tl.maximum(row, 0)).to(tl.int64)
    stop = tl.load(indptr + tl.maximum(row, 0) + 1).to(tl.int64)
    return row, stop, (row >= 0) & (stop - begin > S) & (begin < cut) & (cut - begin <= S)


@triton.jit
def _by_type(table, head, c, used, H, C, T: tl.constexpr, FACTOR: tl.constexpr):
    """The rows [R, BC] of a table [T, H, C], times FACTOR, for each line's head, one per type.

    Kept in registers and chosen by :func:`_choose_row`: a load per edge and channel costs more than selects.
    """
    rows = ()
    for t in tl.static_range(T):
        row = tl.load(table + ((t * H + head) * C)[:, None] + c, mask=used, other=0.0)
        rows = rows + (row * FACTOR,)
    return rows


@triton.jit
def _scaled(rows, x, T: tl.constexpr):
    """Each type's rows times x."""
    new = ()
    for t in tl.static_range(T):
        new = new + (rows[t] * x,)
    return new


@triton.jit
def _choose_row(rows, kind, T: tl.constexpr):
    """rows[kind] of every edge: [R, BE, BC] from T rows [R, BC]."""
    chosen = rows[0][:, None, :]
    for t in tl.static_range(1, T):
        chosen = tl.where((kind == t)[:, :, None], rows[t][:, None, :], chosen)
    return chosen


@triton.jit
def _rows(x, row, head, c, used, NODE: tl.constexpr, HEAD: tl.constexpr):
    """x[row, head], [R, BC] in float32."""
    return tl.load(x + (row * NODE + head * HEAD)[:, None] + c, mask=used, other=0.0).to(tl.float32)


@triton.jit
def _gathered(x, node, head, c, mask, NODE: tl.constexpr, HEAD: tl.constexpr):
    """x[node, head], [R, BE, BC] in float32."""
    place = node * NODE + (head * HEAD)[:, None]
    return tl.load(x + place[:, :, None] + c, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _bias_by_type(bias, head, live, H, T: tl.constexpr):
    """The biases [R] of a table [T, H] for each line's head, one per type."""
    biases = ()
    for t in tl.static_range(T):
        biases = biases + (tl.load(bias + t * H + head, mask=live, other=0.0),)
    return biases


@triton.jit
def _edge_step(
    e, begin, end, live, node, edge_type, edge_id, x, y, own, rows, biases, edge_bias,
    head, c, H, C: tl.constexpr, T: tl.constexpr, BE: tl.constexpr,
    XN: tl.constexpr, XH: tl.constexpr, YN: tl.constexpr, YH: tl.constexpr,
):  # fmt: skip
    """The edges begin + e, ... of each line, BE of them: all that their four kernels have in common.

    x and y (or None) are gathered from the edge's other end. An edge's logit is the sum over channels of
    x times its type's row of `rows`, and times `own` where the rows do not hold this end's factor already.

    Returns position, whether there is one, whether an edge stands there, other end and type [R, BE]; rows of
    x, these times their type's row, and rows of y [R, BE, BC]; logit [R, BE] without the clamp, -inf in
    empty slots.
    """
    position = begin[:, None] + e + tl.arange(0, BE)[None, :]
    there = live[:, None] & (position < end[:, None])
    j = tl.load(node + position, mask=there, other=-1).to(tl.int64)
    ok = there & (
        j >= 0
    )  # in a transpose always true; Triton 3.7 gives the loads conflicting layouts without
    kind = tl.load(edge_type + position, mask=ok, other=0).to(tl.int32)
    mask = ok[:, :, None] & (c < C)[None, None, :]
    near = _gathered(x, j, head, c, mask, XN, XH)
    far = near
    if y is not None:
        far = _gathered(y, j, head, c, mask, YN, YH)
    edge = position
    if edge_bias is not None and edge_id is not None:
        edge = tl.load(edge_id + position, mask=ok, other=0).to(tl.int64)
    scaled = _choose_row(rows, kind, T) * near
    logit = tl.sum(scaled if own is None else own[:, None, :] * scaled, 2)
    bias = tl.broadcast_to(biases[0][:, None], logit.shape)
    for t in tl.static_range(1, T):
        bias = tl.where(kind == t, biases[t][:, None], bias)
    logit += bias
    if edge_bias is not None:
        logit += tl.load(edge_bias + edge * H + head[:, None], mask=ok, other=0.0)
    return position, there, ok, j, kind, near, scaled, far, tl.where(ok, logit, -float('inf'))


@triton.jit
def _clamped(logit, clamp):
    # Not tl.clamp: a NaN must stay NaN.
    logit = tl.where(logit > clamp, clamp, logit)
    return tl.where(logit < -clamp, -clamp, logit)


@triton.jit(do_not_specialize=['num_rows', 'num_segments', 'steps'])
def forward(
    indptr, source, edge_type, query, key, value, scale, bias, edge_bias, out, lse, rest, extra,
    num_rows, num_segments, steps, clamp,
    K: tl.constexpr, S: tl.constexpr, H: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
    FACTOR: tl.constexpr, HAS_CLAMP: tl.constexpr,
    QN: tl.constexpr, QH: tl.constexpr, KN: tl.constexpr, KH: tl.constexpr,
    VN: tl.constexpr, VH: tl.constexpr,
    BN: tl.constexpr, BH: tl.constexpr, BE: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Output and log-sum-exp of every segment, as if it were a row of its own; cuts leave theirs in `extra`.

    lse + rest is the log-sum-exp: float32 alone is off by 1e-3 where logits are near 1e4. Of `extra`
    [*, H, C + 2] the last two columns are lse and rest.
    """
    line, head = _line(H, BN, BH)
    first = tl.program_id(0).to(tl.int64) * BN
    row, begin, end, longest, live = _edges(
        first, line, head, indptr, num_rows, num_segments, steps, H, K, S, BN
    )
    c = tl.arange(0, BC)
    used = live[:, None] & (c < C)[None, :]
    q = _rows(query, row, head, c, used, QN, QH)
    queries = _scaled(_by_type(scale, head, c, used, H, C, T, FACTOR), q, T)
    biases = _bias_by_type(bias, head, live, H, T)
    top = tl.full([BN * BH, BE], NO_MASS, tl.float32)
    mass = tl.zeros([BN * BH, BE], tl.float32)
    total = tl.zeros([BN * BH, BE, BC], tl.float32)
    for e in range(0, longest, BE):
        _, _, ok, _, _, _, _, v, logit = _edge_step(
            e, begin, end, live, source, edge_type, None, key, value, None, queries, biases, edge_bias,
            head, c, H, C, T, BE, KN, KH, VN, VH,
        )  # fmt: skip
        if HAS_CLAMP:
            logit = tl.where(ok, _clamped(logit, clamp), logit)
        higher = tl.maximum(top, logit)
        shrink = tl.exp(top - higher)
        w = tl.exp(logit - higher)
        mass = mass * shrink + w
        total = total * shrink[:, :, None] + w[:, :, None] * v
        top = higher

    highest = tl.max(top, 1)
    shrink = tl.exp(top - highest[:, None])
    sum_mass = tl.sum(mass * shrink, 1)
    some = sum_mass != 0  # true for NaN
    result = tl.sum(total * shrink[:, :, None], 1) / tl.where(some, sum_mass, 1.0)[:, None]
    log_mass = tl.log(tl.where(some, sum_mass, 1.0))
    row_lse = tl.where(some, highest + log_mass, NO_MASS)
    row_rest = tl.where(some, (highest - row_lse) + log_mass, 0.0)
    leads = live & (first + line < num_rows)
    place = row * H + head
    tl.store(lse + place, row_lse, mask=leads)
    if rest is not None:
        tl.store(rest + place, row_rest, mask=leads)
    channel = (c < C)[None, :]
    tl.store(out + (place * C)[:, None] + c, result, mask=leads[:, None] & channel)
    if extra is not None:
        follows = live & (first + line >= num_rows)
        place = ((first + line - num_rows) * H + head) * (C + 2)
        tl.store(extra + place[:, None] + c, result, mask=follows[:, None] & channel)
        tl.store(extra + place + C, row_lse, mask=follows)
        tl.store(extra + place + C + 1, row_rest, mask=follows)


@triton.jit(do_not_specialize=['num_rows', 'steps'])
def merge_outputs(
    indptr, out, lse, rest, extra, num_rows, steps,
    S: tl.constexpr, H: tl.constexpr, C: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Rows of several segments: weigh each segment's output by the exponential of its log-sum-exp."""
    first = tl.program_id(0).to(tl.int64)
    row, stop, merges = _first_cut((first + 1) * S, indptr, num_rows, steps, S)
    if merges:
        head = tl.program_id(1) * BH + tl.arange(0, BH)
        c = tl.arange(0, BC)
        live = head < H
        used = live[:, None] & (c < C)[None, :]
        place = row * H + head
        top = tl.load(lse + place, mask=live, other=0.0)
        mass = tl.exp(tl.load(rest + place, mask=live, other=0.0))
        total = tl.load(out + (place * C)[:, None] + c, mask=used, other=0.0).to(tl.float32)
        total = total * mass[:, None]
        for n in range(first, (stop - 1) // S):
            part = (n * H + head) * (C + 2)
            part_out = tl.load(extra + part[:, None] + c, mask=used, other=0.0)
            part_lse = tl.load(extra + part + C, mask=live, other=0.0)
            part_rest = tl.load(extra + part + C + 1, mask=live, other=0.0)
            higher = tl.maximum(top, part_lse)
            shrink, w = tl.exp(top - higher), tl.exp((part_lse - higher) + part_rest)
            total = total * shrink[:, None] + part_out * w[:, None]
            mass = mass * shrink + w
            top = higher
        row_lse = top + tl.log(mass)
        tl.store(lse + place, row_lse, mask=live)
        tl.store(rest + place, (top - row_lse) + tl.log(mass), mask=live)
        tl.store(out + (place * C)[:, None] + c, total / mass[:, None], mask=used)


@triton.jit(do_not_specialize=['num_rows', 'num_segments', 'steps'])
def edge_weights(
    indptr, source, edge_type, query, key, scale, bias, edge_bias, lse, rest, weights,
    num_rows, num_segments, steps, clamp,
    K: tl.constexpr, S: tl.constexpr, H: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
    FACTOR: tl.constexpr, HAS_CLAMP: tl.constexpr,
    QN: tl.constexpr, QH: tl.constexpr, KN: tl.constexpr, KH: tl.constexpr,
    BN: tl.constexpr, BH: tl.constexpr, BE: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """The weight of every edge from its row's log-sum-exp; 0 in empty slots."""
    line, head = _line(H, BN, BH)
    first = tl.program_id(0).to(tl.int64) * BN
    row, begin, end, longest, live = _edges(
        first, line, head, indptr, num_rows, num_segments, steps, H, K, S, BN
    )
    c = tl.arange(0, BC)
    used = live[:, None] & (c < C)[None, :]
    q = _rows(query, row, head, c, used, QN, QH)
    queries = _scaled(_by_type(scale, head, c, used, H, C, T, FACTOR), q, T)
    biases = _bias_by_type(bias, head, live, H, T)
    row_lse = tl.load(lse + row * H + head, mask=live, other=0.0)
    row_rest = tl.load(rest + row * H + head, mask=live, other=0.0)
    for e in range(0, longest, BE):
        position, there, ok, _, _, _, _, _, logit = _edge_step(
            e, begin, end, live, source, edge_type, None, key, None, None, queries, biases, edge_bias,
            head, c, H, C, T, BE, KN, KH, 0, 0,
        )  # fmt: skip
        if HAS_CLAMP:
            logit = tl.where(ok, _clamped(logit, clamp), logit)
        w = tl.exp(tl.where(ok, (logit - row_lse[:, None]) - row_rest[:, None], -float('inf')))
        tl.store(weights + position * H + head[:, None], w, mask=there)

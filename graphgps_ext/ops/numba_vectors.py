"""The inner loops of the attention kernels, over edges, heads and channels, as LLVM vector code for numba.

LLVM's own vectoriser plans for long loops: over the 5 edges of a row or the 4 to 64 channels of a head most
of its time goes into checks for overlap and into remainders. Here channels are taken as vectors of 64, of 16,
one of 8, one of 4 and single floats, edges in fours or eights, and all heads in one call. Arrays that are
written must not overlap those that are read. Starts and offsets count floats.

What belongs to the edges of a block and to each head stands head by head: x[h * step + p], `step` a multiple
of STEP. Offsets are read, and results written, up to the next multiple of four edges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from graphgps_ext.ops.numba_threads import kernel

# Floats taken together where a loop runs over edges. With 4 rows of 5 edges are as fast, rows of 100 some 6 %
# slower.
STEP = 8

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_EIGHT = ir.VectorType(_FLOAT, STEP)
_FLAGS = ('reassoc', 'contract', 'nsz', 'arcp')
# And whether there may be several of them. Where nothing is kept in registers fewer take less compiling.
_WIDTHS = {64: True, 16: True, 8: False, 4: False, 1: True}
_FEW_WIDTHS = {16: True, 4: True, 1: True}


def _arguments(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """Of arrays the address of the data, None of None."""

    def argument(kind: Any, x: Any) -> Any:
        if isinstance(kind, types.Array):
            return context.make_array(kind)(context, builder, x).data
        return None if isinstance(kind, types.NoneType) else x

    return [argument(kind, x) for kind, x in zip(signature.args, args, strict=True)]


def _vector_at(builder: Any, data: Any, at: Any, width: int) -> Any:
    """Pointer to the vector that begins at data[at], without numba's handling of negative indices."""
    pointer = builder.gep(data, [at])
    if width == 1:
        return pointer
    return builder.bitcast(pointer, ir.VectorType(data.type.pointee, width).as_pointer())


def _load(builder: Any, data: Any, at: Any, width: int = 1) -> Any:
    return builder.load(_vector_at(builder, data, at, width), align=4)


def _store(builder: Any, x: Any, data: Any, at: Any, width: int = 1) -> None:
    builder.store(x, _vector_at(builder, data, at, width), align=4)


def _like(x: Any, value: float) -> Any:
    """The constant of the type of x, a vector or not, that holds `value` everywhere."""
    count = getattr(x.type, 'count', None)
    return ir.Constant(x.type, value if count is None else [value] * count)


def _zero(place: Any) -> Any:
    """The zero, a vector or not, that can be stored there."""
    kind = place.type.pointee
    count = getattr(kind, 'count', None)
    return ir.Constant(kind, 0.0 if count is None else [0.0] * count)


def _shuffle(builder: Any, x: Any, y: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(_INT32, len(lanes)), lanes))


def _spread(builder: Any, x: Any, width: int) -> Any:
    if width == 1:
        return x
    unset = ir.Constant(ir.VectorType(x.type, width), ir.Undefined)
    return _shuffle(builder, builder.insert_element(unset, x, _INT32(0)), unset, [0] * width)


def _four(builder: Any, scalars: list[Any]) -> Any:
    vector = ir.Constant(ir.VectorType(_FLOAT, 4), ir.Undefined)
    for lane, x in enumerate(scalars):
        vector = builder.insert_element(vector, x, _INT32(lane))
    return vector


def _fold(builder: Any, x: Any, width: int, combine: Callable[[Any, Any], Any]) -> Any:
    """The two halves of x combined."""
    halves = (list(range(start, start + width // 2)) for start in (0, width // 2))
    return combine(*(_shuffle(builder, x, x, half) for half in halves))


def _first_lanes(builder: Any, x: Any, left: Any, other: float) -> Any:
    """The first `left` lanes of eight, `other` in the rest."""
    lanes = ir.Constant(ir.VectorType(_INT64, STEP), list(range(STEP)))
    inside = builder.icmp_signed('<', lanes, _spread(builder, left, STEP))
    return builder.select(inside, x, _like(x, other))


def _reduced(builder: Any, x: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """All eight lanes combined."""
    width = STEP
    while width > 1:
        x, width = _fold(builder, x, width, combine), width // 2
    return builder.extract_element(x, _INT32(0))


def _sums_of_four(builder: Any, vectors: list[Any], width: int) -> Any:
    """A vector of the sums of four vectors."""

    def add(x: Any, y: Any) -> Any:
        return builder.fadd(x, y, flags=_FLAGS)

    if width == 1:
        return _four(builder, vectors)
    while width > 8:
        vectors = [_fold(builder, x, width, add) for x in vectors]
        width //= 2
    while len(vectors) > 1:  # in each four lanes: neighbours of x added, then those of y
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        first = [start + lane for start in range(0, width, 4) for lane in (0, 2, width, width + 2)]
        vectors = [
            add(_shuffle(builder, x, y, first), _shuffle(builder, x, y, [lane + 1 for lane in first]))
            for x, y in pairs
        ]
    return vectors[0] if width == 4 else _fold(builder, vectors[0], width, add)


def _exp(builder: Any, x: Any) -> Any:
    """exp of a float32 x <= 88 to 1.03 units in the last place; 0 below -87; NaN stays NaN.

    Method and coefficients are those of `expf` in S. L. Moshier's Cephes library (single/expf.c):
    exp(x) = 2^n exp(r) with n = round(x / log 2), where log 2 = 0.693359375 - 2.12194440e-4, and
    exp(r) = 1 + r + r^2 p(r) for |r| <= log(2) / 2. Rounding is done by adding 1.5 * 2^23: the last bits of
    the sum are n, ready to become the exponent. Reassociation would fold that away.
    """

    def fma(x: Any, y: Any, z: Any) -> Any:
        return builder.fadd(builder.fmul(x, y, flags=('contract',)), z, flags=('contract',))

    magic = _like(x, 12582912.0)  # 1.5 * 2^23
    shifted = fma(x, _like(x, 1.44269504), magic)  # 1 / log 2
    power = builder.fsub(shifted, magic)
    r = fma(power, _like(x, -0.693359375), x)
    r = fma(power, _like(x, 2.12194440e-4), r)
    p = _like(x, 1.9875691500e-4)
    for coefficient in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = fma(p, r, _like(x, coefficient))
    p = builder.fadd(fma(builder.fmul(p, r), r, r), _like(x, 1.0))
    count = getattr(x.type, 'count', None)
    bits = builder.bitcast(shifted, _INT32 if count is None else ir.VectorType(_INT32, count))
    bits = builder.shl(builder.add(bits, _like(bits, 127 - 0x4B400000)), _like(bits, 23))
    result = builder.fmul(p, builder.bitcast(bits, x.type))
    return builder.select(builder.fcmp_ordered('<', x, _like(x, -87.0)), _like(x, 0.0), result)


def _each_vector(
    builder: Any, n: Any, body: Callable[[Any, int], None], widths: dict[int, bool] = _WIDTHS
) -> None:
    """Call body(at, width) for vectors that cover 0..n."""
    at = cgutils.alloca_once_value(builder, _INT64(0))
    for width, several in widths.items():
        test, inside, after = (
            builder.append_basic_block(f'{part}{width}') for part in ('test', 'in', 'after')
        )
        builder.branch(test)
        builder.position_at_end(test)
        here = builder.load(at)
        builder.cbranch(builder.icmp_signed('<=', builder.add(here, _INT64(width)), n), inside, after)
        builder.position_at_end(inside)
        body(here, width)
        builder.store(builder.add(here, _INT64(width)), at)
        builder.branch(test if several else after)
        builder.position_at_end(after)


def _offsets_of_four(builder: Any, offsets: Any, p: Any) -> list[Any]:
    """Where the rows of the edges p to p + 3 begin; for None all at 0, of which LLVM loads one."""
    if offsets is None:
        return [_INT64(0)] * 4
    return [builder.load(builder.gep(offsets, [builder.add(p, _INT64(k))])) for k in range(4)]


def _rows_of_four(builder: Any, x: Any, starts: list[Any], shift: Any, width: int = 1) -> list[Any]:
    shifted = builder.gep(x, [shift])  # first: the processor adds `start` by itself
    return [_load(builder, shifted, start, width) for start in starts]


@intrinsic
def _gather(
    typing_context: Any, result: Any, step: Any, m: Any, x: Any, offsets: Any, H: Any,
) -> Any:  # fmt: skip
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        result, step, m, x, offsets, H = _arguments(context, builder, signature, args)
        with cgutils.for_range_slice(builder, _INT64(0), m, _INT64(4), _INT64) as (p, _):
            starts = _offsets_of_four(builder, offsets, p)
            with cgutils.for_range(builder, H, intp=_INT64) as head:
                found = _four(builder, _rows_of_four(builder, x, starts, head.index))
                _store(builder, found, result, builder.add(p, builder.mul(head.index, step)), 4)
        return context.get_dummy_value()

    return types.void(result, types.int64, types.int64, x, offsets, types.int64), codegen


@intrinsic
def _dots(
    typing_context: Any, result: Any, step: Any, m: Any, x: Any, x_start: Any, x_offsets: Any,
    a: Any, a_start: Any, a_offsets: Any, b: Any, b_offsets: Any, H: Any, C: Any,
) -> Any:  # fmt: skip
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arguments = _arguments(context, builder, signature, args)
        result, step, m, x, x_start, x_offsets, a, a_start, a_offsets, b, b_offsets, H, C = arguments
        x = builder.gep(x, [x_start])

        def body(at: Any, width: int) -> None:
            a_begin, b_begin = builder.gep(a, [builder.add(a_start, at)]), builder.gep(b, [at])
            first = builder.icmp_signed('==', at, _INT64(0))
            with cgutils.for_range_slice(builder, _INT64(0), m, _INT64(4), _INT64) as (p, _):
                x_rows, a_rows, b_rows = (
                    _offsets_of_four(builder, offsets, p) for offsets in (x_offsets, a_offsets, b_offsets)
                )
                with cgutils.for_range(builder, H, intp=_INT64) as head:
                    shift = builder.mul(head.index, C)
                    pairs = zip(
                        _rows_of_four(builder, a_begin, a_rows, shift, width),
                        _rows_of_four(builder, b_begin, b_rows, shift, width),
                        strict=True,
                    )
                    products = [builder.fmul(*pair, flags=_FLAGS) for pair in pairs]
                    term = _sums_of_four(builder, products, width)
                    place = builder.add(p, builder.mul(head.index, step))
                    before = cgutils.alloca_once(builder, term.type)
                    with builder.if_else(first) as (begins, goes_on):
                        with begins:
                            start = _four(builder, _rows_of_four(builder, x, x_rows, head.index))
                            builder.store(start, before)
                        with goes_on:
                            builder.store(_load(builder, result, place, 4), before)
                    term = builder.fadd(builder.load(before), term, flags=_FLAGS)
                    _store(builder, term, result, place, 4)

        _each_vector(builder, C, body)
        return context.get_dummy_value()

    return types.void(
        result, types.int64, types.int64, x, types.uint64, x_offsets,
        a, types.uint64, a_offsets, b, b_offsets, types.int64, types.int64,
    ), codegen  # fmt: skip


@intrinsic
def _add_weighted(
    typing_context: Any, total: Any, start: Any, sums_start: Any, w: Any, step: Any, first: Any, last: Any,
    b: Any, offsets: Any, H: Any, C: Any,
) -> Any:  # fmt: skip
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arguments = _arguments(context, builder, signature, args)
        total, start, sums_start, w, step, first, last, b, offsets, H, C = arguments
        odd = builder.and_(builder.sub(last, first), _INT64(1))
        whole = builder.sub(last, odd)

        def body(at: Any, width: int) -> None:
            row_type = _FLOAT if width == 1 else ir.VectorType(_FLOAT, width)
            # Two sums which take edges in turn: one would wait for its own last addition.
            sums = [
                tuple(cgutils.alloca_once(builder, kind) for kind in (row_type, _FLOAT)) for _ in range(2)
            ]
            with cgutils.for_range(builder, H, intp=_INT64) as head:
                shift = builder.add(builder.mul(head.index, C), at)
                w_start = builder.mul(head.index, step)
                for place in (*sums[0], *sums[1]):
                    builder.store(_zero(place), place)

                def add(place: Any, x: Any) -> None:
                    builder.store(builder.fadd(builder.load(place), x, flags=_FLAGS), place)

                def add_edge(p: Any, places: tuple[Any, Any]) -> None:
                    offset = builder.load(builder.gep(offsets, [p]))
                    row = _load(builder, b, builder.add(offset, shift), width)
                    weight = _load(builder, w, builder.add(w_start, p))
                    add(places[0], builder.fmul(_spread(builder, weight, width), row, flags=_FLAGS))
                    add(places[1], weight)

                with cgutils.for_range_slice(builder, first, whole, _INT64(2), _INT64) as (p, _):
                    add_edge(p, sums[0])
                    add_edge(builder.add(p, _INT64(1)), sums[1])
                with builder.if_then(builder.icmp_signed('!=', odd, _INT64(0))):
                    add_edge(whole, sums[0])

                def add_both(places: tuple[Any, Any], to: Any, width: int) -> None:
                    both = builder.fadd(*(builder.load(place) for place in places), flags=_FLAGS)
                    both = builder.fadd(_load(builder, total, to, width), both, flags=_FLAGS)
                    _store(builder, both, total, to, width)

                rows, weights = zip(*sums, strict=True)
                add_both(rows, builder.add(start, shift), width)
                if sums_start is not None:
                    with builder.if_then(builder.icmp_signed('==', at, _INT64(0))):
                        add_both(weights, builder.add(sums_start, head.index), 1)

        _each_vector(builder, C, body)
        return context.get_dummy_value()

    return types.void(
        total, types.uint64, sums_start, w, types.int64, types.int64, types.int64,
        b, offsets, types.int64, types.int64,
    ), codegen  # fmt: skip


@intrinsic
def _multiply(
    typing_context: Any, result: Any, start: Any, a: Any, a_start: Any, b: Any, b_start: Any, n: Any,
) -> Any:  # fmt: skip
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        result, start, a, a_start, b, b_start, n = _arguments(context, builder, signature, args)

        def body(at: Any, width: int) -> None:
            x = _load(builder, a, builder.add(a_start, at), width)
            y = _load(builder, b, builder.add(b_start, at), width)
            _store(builder, builder.fmul(x, y), result, builder.add(start, at), width)

        _each_vector(builder, n, body, _FEW_WIDTHS)
        return context.get_dummy_value()

    at = types.uint64
    return types.void(result, at, a, at, b, at, types.int64), codegen


@intrinsic
def _add_product(
    typing_context: Any, total: Any, start: Any, a: Any, a_start: Any, b: Any, b_start: Any, n: Any,
) -> Any:  # fmt: skip
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total, start, a, a_start, b, b_start, n = _arguments(context, builder, signature, args)

        def body(at: Any, width: int) -> None:
            place = builder.add(start, at)
            before = _load(builder, total, place, width)
            x = _load(builder, a, builder.add(a_start, at), width)
            y = _load(builder, b, builder.add(b_start, at), width)
            if x.type != before.type:
                x, y = builder.fpext(x, before.type), builder.fpext(y, before.type)
            after = builder.fadd(before, builder.fmul(x, y, flags=_FLAGS), flags=_FLAGS)
            _store(builder, after, total, place, width)

        _each_vector(builder, n, body, _FEW_WIDTHS)
        return context.get_dummy_value()

    at = types.uint64
    return types.void(total, at, a, at, b, at, types.int64), codegen


@intrinsic
def _largest(typing_context: Any, x: Any, start: Any, m: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, start, m = _arguments(context, builder, signature, args)

        def larger(x: Any, y: Any) -> Any:
            return builder.select(builder.fcmp_ordered('>', x, y), x, y)

        top = cgutils.alloca_once(builder, _EIGHT)
        builder.store(ir.Constant(_EIGHT, [float('-inf')] * STEP), top)
        with cgutils.for_range_slice(builder, _INT64(0), m, _INT64(STEP), _INT64) as (p, _):
            some = _load(builder, x, builder.add(start, p), STEP)
            some = _first_lanes(builder, some, builder.sub(m, p), float('-inf'))
            builder.store(larger(some, builder.load(top)), top)
        return _reduced(builder, builder.load(top), larger)

    return types.float32(x, types.int64, types.int64), codegen


@intrinsic
def _exponentials(typing_context: Any, x: Any, start: Any, m: Any, top: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, start, m, top = _arguments(context, builder, signature, args)

        def add(x: Any, y: Any) -> Any:
            return builder.fadd(x, y, flags=_FLAGS)

        mass = cgutils.alloca_once(builder, _EIGHT)
        builder.store(_zero(mass), mass)
        with cgutils.for_range_slice(builder, _INT64(0), m, _INT64(STEP), _INT64) as (p, _):
            at = builder.add(start, p)
            w = _exp(builder, builder.fsub(_load(builder, x, at, STEP), _spread(builder, top, STEP)))
            w = _first_lanes(builder, w, builder.sub(m, p), 0.0)
            _store(builder, w, x, at, STEP)
            builder.store(add(builder.load(mass), w), mass)
        return _reduced(builder, builder.load(mass), add)

    return types.float32(x, types.int64, types.int64, types.float32), codegen


@intrinsic
def _gradients(typing_context: Any, logits: Any, drifts: Any, lses: Any, n: Any, clamp: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        logits, drifts, lses, n, clamp = _arguments(context, builder, signature, args)
        above = _spread(builder, clamp, STEP)
        below = builder.fneg(above)
        zero = ir.Constant(_EIGHT, [0.0] * STEP)
        with cgutils.for_range_slice(builder, _INT64(0), n, _INT64(STEP), _INT64) as (p, _):
            logit, drift, lse = (_load(builder, x, p, STEP) for x in (logits, drifts, lses))
            over = builder.fcmp_ordered('>', logit, above)
            under = builder.fcmp_ordered('<', logit, below)
            x = builder.select(over, above, builder.select(under, below, logit))
            x = builder.fsub(x, lse)
            # A weight is at most 1: huge logits are rounded otherwise here than in the forward pass.
            weight = _exp(builder, builder.select(builder.fcmp_ordered('>', x, zero), zero, x))
            gradient = builder.fmul(weight, drift)
            gradient = builder.select(builder.or_(over, under), zero, gradient)
            _store(builder, weight, logits, p, STEP)
            _store(builder, gradient, drifts, p, STEP)
        return context.get_dummy_value()

    return types.void(logits, drifts, lses, types.int64, types.float32), codegen


@intrinsic
def _scalar_exp(typing_context: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _exp(builder, args[0])

    return types.float32(types.float32), codegen


@intrinsic
def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, index = _arguments(context, builder, signature, args)
        pointer = builder.bitcast(builder.gep(data, [index]), ir.IntType(8).as_pointer())
        function_type = ir.FunctionType(ir.VoidType(), [pointer.type, _INT32, _INT32, _INT32])
        function = builder.module.declare_intrinsic('llvm.prefetch', [pointer.type], function_type)
        builder.call(function, [pointer, _INT32(0), _INT32(3), _INT32(1)])  # to read, all levels, data
        return context.get_dummy_value()

    return types.void(array, types.uint64), codegen


# Called in kernels with the arguments after `typing_context`; p runs over the edges 0..m, h over 0..H, c over
# 0..C. Offsets may be None: all 0.
# result[h * step + p] = x[offsets[p] + h]
gather: Any = _gather
# result[h * step + p] = x[x_start + x_offsets[p] + h] + sum over c of
#     a[a_start + a_offsets[p] + h * C + c] * b[b_offsets[p] + h * C + c]
dots: Any = _dots
# total[start + h * C + c] += sum over p in first..last of w[h * step + p] * b[offsets[p] + h * C + c]
# total[sums_start + h] += sum over p in first..last of w[h * step + p], if sums_start is not None
add_weighted: Any = _add_weighted
# result[start + k] = a[a_start + k] * b[b_start + k], k in 0..n
multiply: Any = _multiply
# total[start + k] += a[a_start + k] * b[b_start + k], k in 0..n; in the type of total
add_product: Any = _add_product
# The largest of x[start + p], NaN left out; -inf if m is 0.
largest: Any = _largest
# Ask for the cache line of array[index] without waiting.
prefetch: Any = _prefetch


_any_scalar_exp: Any = _scalar_exp
_any_exponentials: Any = _exponentials
_any_gradients: Any = _gradients


# numba gives the flags of a function to all that stands in it, and to `_exp` no others than these may come.
@kernel(fastmath={'contract'}, inline=True)
def exp(x):
    """exp of a float32 x <= 88; see `_exp`."""
    return _any_scalar_exp(x)


@kernel(fastmath={'contract'}, inline=True)
def exponentials(x, start, m, top):
    """Turn x[start + p] into exp(x[start + p] - top), and 0 up to the next multiple of eight; their sum."""
    return _any_exponentials(x, start, m, top)


@kernel(fastmath={'contract'}, inline=True)
def gradients(logits, drifts, lses, n, clamp):
    """Turn n logits into weights, exp(clamped logit - lse), and drifts into gradients of the logits.

    These are weight * drift; 0 where the clamp binds, NaN where the logit is NaN.
    """
    _any_gradients(logits, drifts, lses, n, clamp)

"""The two inner loops of the attention kernels, over edges and channels, as LLVM vector code for numba.

LLVM's own vectoriser plans for long loops: over the 4 to 64 channels of a head most of its time goes into
checks for overlap and into remainders. Here the n channels of a head are taken as vectors of 64, of 16, one
of 8, one of 4 and single floats; for each of them a loop runs over the edges, with sums in registers. Arrays
that are written must not overlap those that are read. Starts and offsets count floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLAGS = ('reassoc', 'contract', 'nsz', 'arcp')
_WIDTHS = {64: True, 16: True, 8: False, 4: False, 1: True}  # and whether there may be several of them


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _vector_at(builder: Any, data: Any, at: Any, width: int) -> Any:
    """Pointer to the vector that begins at data[at], without numba's handling of negative indices."""
    pointer = builder.gep(data, [at])
    return pointer if width == 1 else builder.bitcast(pointer, ir.VectorType(_FLOAT, width).as_pointer())


def _load(builder: Any, data: Any, at: Any, width: int = 1) -> Any:
    return builder.load(_vector_at(builder, data, at, width), align=4)


def _spread(builder: Any, x: Any, width: int) -> Any:
    if width == 1:
        return x
    unset = ir.Constant(ir.VectorType(_FLOAT, width), ir.Undefined)
    mask = ir.Constant(ir.VectorType(_INT32, width), [0] * width)
    return builder.shuffle_vector(builder.insert_element(unset, x, _INT32(0)), unset, mask)


def _sum(builder: Any, x: Any, width: int) -> Any:
    if width == 1:
        return x
    function_type = ir.FunctionType(_FLOAT, [_FLOAT, x.type])
    name = f'llvm.vector.reduce.fadd.v{width}f32'
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, [ir.Constant(_FLOAT, -0.0), x], fastmath=_FLAGS)


def _each_vector(builder: Any, n: Any, body: Callable[[Any, int], None]) -> None:
    """Call body(at, width) for vectors that cover 0..n."""
    at = cgutils.alloca_once_value(builder, _INT64(0))
    for width, several in _WIDTHS.items():
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


@intrinsic
def _dots(
    typing_context: Any, result: Any, m: Any, a: Any, a_start: Any, a_offsets: Any, a_step: Any,
    b: Any, b_start: Any, b_offsets: Any, n: Any,
) -> Any:  # fmt: skip
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, m, _, a_start, _, a_step, _, b_start, _, n = args
        result, a, a_offsets, b, b_offsets = (
            _data(context, builder, signature.args[i], args[i]) for i in (0, 2, 4, 6, 8)
        )

        def body(at: Any, width: int) -> None:
            starts = builder.add(a_start, at), builder.add(b_start, at)
            first = builder.icmp_signed('==', at, _INT64(0))
            with cgutils.for_range(builder, m, intp=_INT64) as loop:
                offset = builder.mul(builder.load(builder.gep(a_offsets, [loop.index])), a_step)
                x = _load(builder, a, builder.add(offset, starts[0]), width)
                offset = builder.load(builder.gep(b_offsets, [loop.index]))
                y = _load(builder, b, builder.add(offset, starts[1]), width)
                term = _sum(builder, builder.fmul(x, y, flags=_FLAGS), width)
                place = builder.gep(result, [loop.index])
                before = builder.select(first, ir.Constant(_FLOAT, 0.0), builder.load(place))
                builder.store(builder.fadd(before, term, flags=_FLAGS), place)

        _each_vector(builder, n, body)
        return context.get_dummy_value()

    return types.void(
        result, types.int64, a, types.uint64, a_offsets, types.uint64, b, types.uint64, b_offsets, types.int64
    ), codegen  # fmt: skip


@intrinsic
def _add_weighted(
    typing_context: Any, total: Any, start: Any, w: Any, first: Any, last: Any,
    b: Any, b_start: Any, offsets: Any, n: Any,
) -> Any:  # fmt: skip
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, start, _, first, last, _, b_start, _, n = args
        total, w, b, offsets = (_data(context, builder, signature.args[i], args[i]) for i in (0, 2, 5, 7))

        def body(at: Any, width: int) -> None:
            zero = ir.Constant(_FLOAT, 0.0)
            if width > 1:
                zero = ir.Constant(ir.VectorType(_FLOAT, width), [0.0] * width)
            # Two sums which take edges in turn: one would wait for its own last addition.
            sums = [cgutils.alloca_once_value(builder, zero) for _ in range(2)]
            for place in sums:
                builder.store(zero, place)
            begin = builder.add(b_start, at)

            def add_edge(p: Any, place: Any) -> None:
                offset = builder.load(builder.gep(offsets, [p]))
                row = _load(builder, b, builder.add(offset, begin), width)
                term = builder.fmul(_spread(builder, _load(builder, w, p), width), row, flags=_FLAGS)
                builder.store(builder.fadd(builder.load(place), term, flags=_FLAGS), place)

            odd = builder.and_(builder.sub(last, first), _INT64(1))
            whole = builder.sub(last, odd)
            with cgutils.for_range_slice(builder, first, whole, _INT64(2), _INT64) as (p, _):
                add_edge(p, sums[0])
                add_edge(builder.add(p, _INT64(1)), sums[1])
            with builder.if_then(builder.icmp_signed('!=', odd, _INT64(0))):
                add_edge(whole, sums[0])
            place = _vector_at(builder, total, builder.add(start, at), width)
            both = builder.fadd(builder.load(sums[0]), builder.load(sums[1]), flags=_FLAGS)
            builder.store(builder.fadd(builder.load(place, align=4), both, flags=_FLAGS), place, align=4)

        _each_vector(builder, n, body)
        return context.get_dummy_value()

    return types.void(
        total, types.uint64, w, types.int64, types.int64, b, types.uint64, offsets, types.int64
    ), codegen  # fmt: skip


@intrinsic
def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.gep(_data(context, builder, signature.args[0], args[0]), [args[1]])
        pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        function_type = ir.FunctionType(ir.VoidType(), [pointer.type, _INT32, _INT32, _INT32])
        function = builder.module.declare_intrinsic('llvm.prefetch', [pointer.type], function_type)
        builder.call(function, [pointer, _INT32(0), _INT32(3), _INT32(1)])  # to read, all levels, data
        return context.get_dummy_value()

    return types.void(array, types.uint64), codegen


# Called in kernels with the arguments after `typing_context`; c runs over 0..n.
# result[p] = sum over c of a[a_start + a_step * a_offsets[p] + c] * b[b_start + b_offsets[p] + c], p in 0..m
dots: Any = _dots
# total[start + c] += sum over p in first..last of w[p] * b[b_start + offsets[p] + c]
add_weighted: Any = _add_weighted
# Ask for the cache line of array[index] without waiting.
prefetch: Any = _prefetch

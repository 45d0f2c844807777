"""Three loops over channels and a prefetch, written as LLVM vector code for the numba kernels.

LLVM's own vectoriser plans for long loops: over the 4 to 64 channels of a head most of its time goes into
checks for overlap and into remainders. Here a row of n floats is taken as vectors of 16, then one of 8, one of
4 and single floats; arrays that are written must not overlap those that are read. Starts and n count floats.
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
_WIDTHS = (16, 8, 4, 1)


def _data(context: Any, builder: Any, array_type: Any, array: Any, start: Any) -> Any:
    """Pointer to array[start], without numba's handling of negative indices."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [start])


def _load(builder: Any, pointer: Any, at: Any, width: int) -> Any:
    pointer = builder.gep(pointer, [at])
    if width > 1:
        pointer = builder.bitcast(pointer, ir.VectorType(_FLOAT, width).as_pointer())
    return builder.load(pointer, align=4)


def _store(builder: Any, value: Any, pointer: Any, at: Any, width: int) -> None:
    pointer = builder.gep(pointer, [at])
    if width > 1:
        pointer = builder.bitcast(pointer, ir.VectorType(_FLOAT, width).as_pointer())
    builder.store(value, pointer, align=4)


def _spread(builder: Any, x: Any, width: int) -> Any:
    if width == 1:
        return x
    vector = ir.VectorType(_FLOAT, width)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), x, _INT32(0))
    mask = ir.Constant(ir.VectorType(_INT32, width), [0] * width)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), mask)


def _sum(builder: Any, x: Any, width: int) -> Any:
    if width == 1:
        return x
    function_type = ir.FunctionType(_FLOAT, [_FLOAT, x.type])
    name = f'llvm.vector.reduce.fadd.v{width}f32'
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, [ir.Constant(_FLOAT, -0.0), x], fastmath=_FLAGS)


def _each_vector(builder: Any, n: Any, body: Callable[[Any, int], None]) -> None:
    """Call body(at, width) for vectors that cover 0..n: a loop of the widest, one of each smaller, singles."""
    at = cgutils.alloca_once_value(builder, _INT64(0))
    for width in _WIDTHS:
        looped = width in (_WIDTHS[0], _WIDTHS[-1])
        test, inside, after = (builder.append_basic_block(f'{part}{width}') for part in ('test', 'in', 'after'))
        builder.branch(test)
        builder.position_at_end(test)
        here = builder.load(at)
        builder.cbranch(builder.icmp_signed('<=', builder.add(here, _INT64(width)), n), inside, after)
        builder.position_at_end(inside)
        body(here, width)
        builder.store(builder.add(here, _INT64(width)), at)
        builder.branch(test if looped else after)
        builder.position_at_end(after)


@intrinsic
def _dot(typing_context: Any, a: Any, a_start: Any, b: Any, b_start: Any, n: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x = _data(context, builder, signature.args[0], args[0], args[1])
        y = _data(context, builder, signature.args[2], args[2], args[3])
        total = cgutils.alloca_once_value(builder, ir.Constant(_FLOAT, 0.0))
        wide = ir.VectorType(_FLOAT, _WIDTHS[0])
        sums = cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * _WIDTHS[0]))

        def body(at: Any, width: int) -> None:
            product = builder.fmul(_load(builder, x, at, width), _load(builder, y, at, width), flags=_FLAGS)
            where, term = (sums, product) if width == _WIDTHS[0] else (total, _sum(builder, product, width))
            builder.store(builder.fadd(builder.load(where), term, flags=_FLAGS), where)

        _each_vector(builder, args[4], body)
        with builder.if_then(builder.icmp_signed('>=', args[4], _INT64(_WIDTHS[0]))):
            term = _sum(builder, builder.load(sums), _WIDTHS[0])
            builder.store(builder.fadd(builder.load(total), term, flags=_FLAGS), total)
        return builder.load(total)

    return types.float32(a, types.uint64, b, types.uint64, types.int64), codegen


@intrinsic
def _add_scaled(typing_context: Any, total: Any, start: Any, w: Any, a: Any, a_start: Any, n: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _data(context, builder, signature.args[0], args[0], args[1])
        x = _data(context, builder, signature.args[3], args[3], args[4])

        def body(at: Any, width: int) -> None:
            term = builder.fmul(_spread(builder, args[2], width), _load(builder, x, at, width), flags=_FLAGS)
            _store(builder, builder.fadd(_load(builder, target, at, width), term, flags=_FLAGS), target, at, width)

        _each_vector(builder, args[5], body)
        return context.get_dummy_value()

    return types.void(total, types.uint64, types.float32, a, types.uint64, types.int64), codegen


@intrinsic
def _multiply(
    typing_context: Any, result: Any, start: Any, a: Any, a_start: Any, b: Any, b_start: Any, n: Any
) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _data(context, builder, signature.args[0], args[0], args[1])
        x = _data(context, builder, signature.args[2], args[2], args[3])
        y = _data(context, builder, signature.args[4], args[4], args[5])

        def body(at: Any, width: int) -> None:
            product = builder.fmul(_load(builder, x, at, width), _load(builder, y, at, width), flags=_FLAGS)
            _store(builder, product, target, at, width)

        _each_vector(builder, args[6], body)
        return context.get_dummy_value()

    return types.void(result, types.uint64, a, types.uint64, b, types.uint64, types.int64), codegen


@intrinsic
def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _data(context, builder, signature.args[0], args[0], args[1])
        pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        function_type = ir.FunctionType(ir.VoidType(), [pointer.type, _INT32, _INT32, _INT32])
        function = builder.module.declare_intrinsic('llvm.prefetch', [pointer.type], function_type)
        builder.call(function, [pointer, _INT32(0), _INT32(3), _INT32(1)])  # to read, all levels, data
        return context.get_dummy_value()

    return types.void(array, types.uint64), codegen


# Called in kernels with the arguments after `typing_context`.
dot: Any = _dot  # sum of a[c] * b[c]
add_scaled: Any = _add_scaled  # total[c] += w * a[c]
multiply: Any = _multiply  # result[c] = a[c] * b[c]
prefetch: Any = _prefetch  # ask for the cache line of array[index] without waiting

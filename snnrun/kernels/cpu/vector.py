"""What numba lacks for vectorised kernels: bit casts, an exponential, calls by address, an atomic counter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

f32 = np.float32

# Fusing a multiplication with an addition is the one freedom that kernels take: sums keep their order, and NaN stays.
FASTMATH = {"contract"}


def _compiler(fastmath: set[str]) -> Callable[[Any], Any]:
    def compile_(function: Any) -> Any:
        # Inlined: of a function's copies in several callers the one that is loaded first would serve all, and a process
        # that compiles loads others than one that finds them compiled. Copies differ in what LLVM contracted.
        options = {"fastmath": fastmath, "error_model": "numpy", "nogil": True, "forceinline": True}
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # no folder to keep compiled code in, neither beside the source nor at home
            return njit(**options)(function)

    return compile_


compiled_exactly = _compiler(set())
compiled = _compiler(FASTMATH)
compiled_sums = _compiler(FASTMATH | {"reassoc"})  # sums in vector lanes

_LOG2_E = f32(math.log2(math.e))
_ROUND = f32(1.5 * 2**23)  # adding it leaves the nearest integer in the lowest bits of a float32
_LARGEST, _SMALLEST = f32(88.37), f32(-87.33)


@intrinsic
def _bits(typing: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), code


@intrinsic
def _from_bits(typing: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), code


@intrinsic
def count_if(typing: Any, count: Any, condition: Any) -> Any:
    """count + condition in int32; numba's own sum of two int32 is an int64, which halves a loop's vectors."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.add(args[0], builder.zext(args[1], ir.IntType(32)))

    return types.int32(types.int32, types.boolean), code


@intrinsic
def pointer(typing: Any, array: Any, first: Any) -> Any:
    """The address of flat index ``first`` of a contiguous array.

    ``carray(pointer(a, i), shape)`` with a shape known to the compiler spares loops their checks for overlap, for which
    LLVM would need the strides that an argument keeps to itself.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return types.CPointer(array.dtype)(array, types.int64), code


@intrinsic
def prefetch(typing: Any, block: Any, array: Any, first: Any) -> Any:
    """Ask for 16 numbers of a contiguous array for each element of ``block``, from flat index ``first`` on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch")
        data = context.make_array(signature.args[1])(context, builder, args[1]).data
        for lane in range(0, 16 * len(signature.args[0]), 16):
            place = builder.gep(data, [builder.add(args[2], ir.Constant(ir.IntType(64), lane))])
            # to be read, into all caches, data
            builder.call(function, [builder.bitcast(place, byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(block, array, types.int64), code


@intrinsic
def at_threshold(typing: Any, row: Any, first: Any) -> Any:
    """Which of the 16 numbers from flat index ``first`` of an array are 1 or more, as bits of an int64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.FloatType(), 16)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        lanes = builder.load(builder.bitcast(builder.gep(data, [args[1]]), kind.as_pointer()), align=4)
        bits = builder.fcmp_ordered(">=", lanes, ir.Constant(kind, [1.0] * 16))
        return builder.zext(builder.bitcast(bits, ir.IntType(16)), ir.IntType(64))

    return types.int64(row, types.int64), code


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> Any:
    """The index of the lowest bit that is set; there must be one."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


@intrinsic
def _fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z, rounded once; where LLVM may choose, it computes a product once for two sums and rounds it."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), code


@njit(fastmath=FASTMATH, error_model="numpy", forceinline=True)
def exp(x: Any) -> Any:
    """exp(x) in float32 by polynomial, for a scalar exp keeps LLVM from vectorising the loop around it.

    exp(x) = 2^n 2^r with n an integer and |r| <= 1/2; 2^r is a minimax polynomial. Relative error below 4e-7 for
    |x| <= 10 and 1.5e-6 everywhere. Beyond the range of float32 it stays at its smallest and largest normal numbers.
    """
    x = min(max(x, _SMALLEST), _LARGEST)
    shifted = _fma(x, _LOG2_E, _ROUND)
    r = _fma(x, _LOG2_E, _ROUND - shifted)
    p = f32(1.32764719794792e-3)
    p = p * r + f32(9.675541334216064e-3)
    p = p * r + f32(5.550713273542585e-2)
    p = p * r + f32(0.24022119723848476)
    p = p * r + f32(0.6931469670647331)
    p = p * r + f32(1)
    return _from_bits(_bits(p) + (_bits(shifted) << np.int32(23)))


@njit(fastmath=FASTMATH, error_model="numpy", forceinline=True)
def power(x: Any, y: Any) -> Any:
    """x to the power of y, float32; a square is a product."""
    return x * x if y == f32(2) else f32(x**y)


@intrinsic
def call(typing: Any, address: Any, rows: Any, params: Any, v: Any, before: Any) -> Any:
    """Call a C function of four float pointers by its address; ``v`` and ``before`` are pointers already.

    A function as an argument would have numba compile the caller anew in every process; an address does not.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointers = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[1:3], args[1:3], strict=True)
        ]
        pointers += args[3:]
        kind = ir.FunctionType(ir.VoidType(), [pointer.type for pointer in pointers])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), pointers)
        return context.get_dummy_value()

    return types.void(types.int64, rows, params, v, before), code


@intrinsic
def claim(typing: Any, counter: Any) -> Any:
    """Take the next task: the value of counter[0], which goes up by one; safe among threads."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), code

"""What numba lacks for vectorised kernels: bit casts, an exponential, calls by address, an atomic counter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

f32 = np.float32

# Fusing a multiplication with an addition is the one freedom that kernels take: sums keep their order, and NaN stays.
FASTMATH = {"contract"}


def _compiler(fastmath: set[str]) -> Callable[[Any], Any]:
    def compile_(function: Any) -> Any:
        options = {"fastmath": fastmath, "error_model": "numpy", "nogil": True}
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # no folder to keep compiled code in, neither beside the source nor at home
            return njit(**options)(function)

    return compile_


compiled = _compiler(FASTMATH)
compiled_sums = _compiler(FASTMATH | {"reassoc"})  # sums in vector lanes

_LOG2_E = f32(math.log2(math.e))
_ROUND = f32(1.5 * 2**23)  # adding it leaves the nearest integer in the lowest bits of a float32
_LN2_HIGH, _LN2_LOW = f32(0.693359375), f32(math.log(2) - 0.693359375)
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


@njit(fastmath=FASTMATH, error_model="numpy")
def exp(x: Any) -> Any:
    """exp(x) in float32 to 2 ulp by polynomial, for a scalar exp keeps LLVM from vectorising the loop around it.

    Beyond the range of float32 it stays at its smallest and largest normal numbers.
    """
    x = min(max(x, _SMALLEST), _LARGEST)
    shifted = x * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = x - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    p = f32(1.9875691500e-4)  # the minimax coefficients of the Cephes library
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * r * r + r + f32(1)
    return _from_bits(_bits(p) + (_bits(shifted) << np.int32(23)))


@njit(fastmath=FASTMATH, error_model="numpy")
def power(x: Any, y: Any) -> Any:
    """x to the power of y, float32; a square is a product."""
    return x * x if y == f32(2) else f32(x**y)


@intrinsic
def call(typing: Any, address: Any, rows: Any, params: Any) -> Any:
    """Call a C function (float* rows, float* params) by its address.

    A function as an argument would have numba compile the caller anew in every process; an address does not.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointers = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[1:], args[1:], strict=True)
        ]
        kind = ir.FunctionType(ir.VoidType(), [pointer.type for pointer in pointers])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), pointers)
        return context.get_dummy_value()

    return types.void(types.int64, rows, params), code


@intrinsic
def claim(typing: Any, counter: Any) -> Any:
    """Take the next task: the value of counter[0], which goes up by one; safe among threads."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), code

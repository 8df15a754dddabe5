"""A method's element-wise torch formula, compiled: it is run once on sample values, and the operations it called are
written down as a loop over lanes.

The loop's source lies in the cache folder, with the formula's constants left open, so that numba compiles it once for
all values of a method's options and for all processes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from snnrun.cache import cache_root
from snnrun.kernels.reference import Formula

WIDTHS = (16, 64, 80)  # lanes of a block

_SAMPLES = 512
_TOLERANCE = 1e-5


class CannotCompile(Exception):
    """The formula does something that has no compiled form; says what."""


class CompiledFormula(NamedTuple):
    """A formula as C functions.

    Attributes:
        params: its constants, float32.
        zero_to_zero: without gradients from above it gives none.
        functions: width to numba C function.
    """

    params: np.ndarray
    zero_to_zero: bool
    functions: Callable[[int], Any]

    def address(self, width: int) -> int:
        """Where the function for blocks of this width lies."""
        return int(self.functions(width).address)


def compile_formula(formula: Formula) -> CompiledFormula:
    """Compile a formula, or find it compiled.

    Raises:
        CannotCompile: an operation has no compiled form, or the formula is not element-wise.
    """
    inputs = _sample_inputs()
    recorder = _Recorder(inputs)
    with recorder, torch.no_grad():
        result = formula(*inputs)
    body, count = recorder.body(result), max(len(recorder.params), 1)
    source = _SOURCE.format(functions="".join(_FUNCTION.format(width=w, body=body, count=count) for w in WIDTHS))
    params = np.array(recorder.params or [0.0], dtype=np.float32)
    module = _load(source)
    compiled = CompiledFormula(params, _zero_to_zero(formula), module.function)
    _hold_to_torch(formula, compiled)
    return compiled


def _sample_inputs() -> list[Tensor]:
    """gs, gt, v, s, slope of plausible values, potentials below, at and above the threshold."""
    generator = torch.Generator().manual_seed(0)
    gs, gt = torch.randn(2, _SAMPLES, generator=generator)
    v = torch.randn(_SAMPLES, generator=generator) * 1.5 + 0.5
    v[:4] = torch.tensor([1.0, 0.0, -40.0, 40.0])
    slope = torch.rand(_SAMPLES, generator=generator) * 2 + 0.01
    return [gs, gt, v, (v >= 1).float(), slope]


def _zero_to_zero(formula: Formula) -> bool:
    gs, _, v, s, slope = _sample_inputs()
    zero = torch.zeros_like(gs)
    return bool((formula(zero, zero.clone(), v, s, slope) == 0).all())


def _hold_to_torch(formula: Formula, compiled: CompiledFormula) -> None:
    width = WIDTHS[0]
    inputs = _sample_inputs()
    expected = formula(*[x.clone() for x in inputs])
    rows = torch.stack([*inputs, torch.zeros_like(inputs[0])]).view(6, -1, width).transpose(0, 1).contiguous().numpy()
    function = compiled.functions(width)
    for block in rows:
        function.ctypes(_pointer(block), _pointer(compiled.params))
    got = torch.from_numpy(rows[:, 5].copy()).flatten()
    scale = expected.abs().clamp(min=1e-3)
    if expected.shape != got.shape or not ((got - expected).abs() <= _TOLERANCE * scale).all():
        raise CannotCompile("it is not element-wise, or not the same each time")


def _pointer(array: np.ndarray) -> Any:
    import ctypes

    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


class _Recorder(TorchDispatchMode):
    """Writes down what torch is asked to do, as lines of a loop body; results are named t0, t1, ..."""

    def __init__(self, inputs: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.params: list[float] = []
        self.lines: list[str] = []
        self.kept = list(inputs)  # alive, so that ids stay theirs
        self.names = {id(x): name for x, name in zip(inputs, ("gs", "gt", "v", "s", "slope"), strict=True)}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operation = function._schema.name.removeprefix("aten::")
        in_place = operation.endswith("_") and not operation.endswith("__")
        values = [self.value(x, function) for x in args]
        named = {key: self.value(x, function) for key, x in kwargs.items() if key not in _IGNORED}
        result = function(*args, **kwargs)
        expression = _expression(operation.removesuffix("_") if in_place else operation, values, named)
        if expression is None or not isinstance(result, Tensor) or result.dtype not in (torch.float32, torch.bool):
            raise CannotCompile(f"torch.{operation} has no compiled form")
        name = f"t{len(self.lines)}"
        kind = "f32" if result.dtype == torch.float32 else "bool"
        self.lines.append(f"{name} = {kind}({expression})")
        self.kept.append(result)
        self.names[id(result)] = name
        return result

    def value(self, x: Any, function: Any) -> str | None:
        if isinstance(x, Tensor):
            if id(x) in self.names:
                return self.names[id(x)]
            if x.numel() == 1 and not x.dtype.is_complex:
                return self.param(float(x))
            raise CannotCompile("it uses a tensor of its own")
        if isinstance(x, bool | int | float):
            return self.param(float(x))
        if x is None or isinstance(x, torch.dtype | torch.device | torch.layout | torch.memory_format):
            return None
        raise CannotCompile(f"{function} takes {type(x).__name__}")

    def param(self, x: float) -> str:
        self.params.append(x)
        return f"p{len(self.params) - 1}"

    def body(self, result: Any) -> str:
        if not isinstance(result, Tensor) or id(result) not in self.names:
            raise CannotCompile("its result is no tensor computed from its arguments")
        loads = [f"    p{i} = params[{i}]" for i in range(len(self.params))]
        rows = [f"        {name} = rows[{row}, j]" for row, name in enumerate(("gs", "gt", "v", "s", "slope"))]
        lines = [f"        {line}" for line in self.lines]
        loop = "    for j in range(rows.shape[1]):"
        return "\n".join([*loads, loop, *rows, *lines, f"        rows[5, j] = {self.names[id(result)]}"])


_IGNORED = ("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "out", "rounding_mode")

_BINARY = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "rsub": "{1} - {0}",
    "maximum": "max({0}, {1})", "minimum": "min({0}, {1})",
    "gt": "{0} > {1}", "ge": "{0} >= {1}", "lt": "{0} < {1}", "le": "{0} <= {1}", "eq": "{0} == {1}",
    "ne": "{0} != {1}", "logical_and": "bool({0}) & bool({1})", "logical_or": "bool({0}) | bool({1})",
    "bitwise_and": "bool({0}) & bool({1})", "bitwise_or": "bool({0}) | bool({1})",
    "logical_xor": "bool({0}) ^ bool({1})", "clamp_min": "max({0}, {1})", "clamp_max": "min({0}, {1})",
    "pow": "pow32({0}, {1})", "fmax": "max({0}, {1})", "fmin": "min({0}, {1})",
}  # fmt: skip
_UNARY = {
    "neg": "-{0}", "abs": "abs({0})", "exp": "exp({0})", "relu": "max({0}, f32(0))", "reciprocal": "f32(1) / {0}",
    "sqrt": "math.sqrt({0})", "rsqrt": "f32(1) / math.sqrt({0})", "square": "{0} * {0}", "scalar_tensor": "{0}",
    "sigmoid": "f32(1) / (f32(1) + exp(-{0}))", "tanh": "math.tanh({0})", "log": "math.log({0})",
    "log1p": "math.log1p({0})", "sin": "math.sin({0})", "cos": "math.cos({0})", "atan": "math.atan({0})",
    "erf": "math.erf({0})", "sign": "f32({0} > 0) - f32({0} < 0)", "logical_not": "not {0}", "bitwise_not": "not {0}",
    "zeros_like": "f32(0)", "ones_like": "f32(1)",
    "detach": "{0}", "alias": "{0}", "clone": "{0}", "_to_copy": "{0}", "copy": "{0}", "lift_fresh": "{0}",
}  # fmt: skip


def _expression(operation: str, values: list[str | None], named: dict[str, str | None]) -> str | None:
    """One operation as numba source, or None where it has none."""
    if operation == "clamp":
        low, high = [*values[1:], None, None][:2]
        low, high = named.get("min", low), named.get("max", high)
        inner = str(values[0]) if low is None else f"max({values[0]}, {low})"
        return inner if high is None else f"min({inner}, {high})"
    if operation in ("add", "sub", "rsub") and (named.get("alpha") is not None or len(values) == 3):
        alpha = named.get("alpha") or values[2]
        scaled = f"({alpha} * {values[0 if operation == 'rsub' else 1]})"
        return _BINARY[operation].format(*((scaled, values[1]) if operation == "rsub" else (values[0], scaled)))
    if named:
        return None
    if operation == "where" and len(values) == 3:
        return f"{values[1]} if {values[0]} else {values[2]}"
    if operation == "masked_fill" and len(values) == 3:
        return f"{values[2]} if {values[1]} else {values[0]}"
    if operation == "full_like" and len(values) == 2:
        return values[1]
    if operation in _BINARY and len(values) == 2 and None not in values:
        return _BINARY[operation].format(*values)
    if operation in _UNARY and values and values[0] is not None and all(value is None for value in values[1:]):
        return _UNARY[operation].format(values[0])
    return None


_SOURCE = '''"""A gradient method's formula as compiled loops; made by snnrun, safe to delete."""

import math
from functools import lru_cache

import numpy as np
from numba import carray, cfunc, njit, types

from snnrun.kernels.cpu.vector import FASTMATH, exp

f32 = np.float32


@njit(error_model="numpy")
def pow32(x, y):
    return x * x if y == 2 else f32(x**y)


_signature = types.void(types.CPointer(types.float32), types.CPointer(types.float32))
_compile = cfunc(_signature, cache=True, fastmath=FASTMATH, error_model="numpy")

{functions}

@lru_cache(maxsize=None)
def function(width):
    return _compile(globals()[f"formula_{{width}}"])
'''

_FUNCTION = """
def formula_{width}(rows_pointer, params_pointer):
    rows = carray(rows_pointer, (6, {width}))
    params = carray(params_pointer, ({count},))
{body}

"""


@cache
def _load(source: str) -> Any:
    """Import a generated module from the cache folder; written whole or not at all, and never run if changed."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:20]
    path = cache_root() / "formulas" / f"formula_{digest}.py"
    if not path.is_file() or path.read_text() != source:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text(source)
        temporary.replace(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # numba's cache imports it by name
    spec.loader.exec_module(module)
    return module

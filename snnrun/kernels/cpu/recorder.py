"""Writes down what torch is asked to do with a few sample values, as lines of numba source."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class CannotCompile(Exception):
    """The formula does something that has no compiled form; says what."""


class Recorder(TorchDispatchMode):
    """While entered, records operations on ``inputs`` (named gs, gt, v, s, slope); results are named t0, t1, ...

    Attributes:
        lines: one assignment an operation; ``quiet_lines``: the same where gt and s are 0, what is 0 then left out.
        params: constants, named p0, p1, ...
        zeros: names whose value is 0 wherever gt and s are.
    """

    def __init__(self, inputs: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[str] = []
        self.quiet_lines: list[str] = []
        self.params: list[float] = []
        self.zeros = {"gt", "s"}
        self._kept = list(inputs)  # alive, so that ids stay theirs
        self._names = {id(x): name for x, name in zip(inputs, ("gs", "gt", "v", "s", "slope"), strict=True)}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping it imports it, a thousand modules

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operation = function._schema.name.removeprefix("aten::").removesuffix("_")
        values = [self._value(x, operation) for x in args]
        named = {key: self._value(x, operation) for key, x in kwargs.items() if key not in _IGNORED}
        result = function(*args, **kwargs)
        expression = _expression(operation, values, named)
        if expression is None or not isinstance(result, Tensor) or result.dtype not in (torch.float32, torch.bool):
            raise CannotCompile(f"torch.{operation} has no compiled form")
        name = f"t{len(self.lines)}"
        kind = "f32" if result.dtype == torch.float32 else "bool"
        self.lines.append(f"{name} = {kind}({expression})")
        zero = [value in self.zeros for value in values]
        if not named and _vanishes(operation, zero):
            self.zeros.add(name)
            expression = "f32(0)"
        elif not named and operation in ("add", "sub") and zero in ([True, False], [False, True]):
            kept = values[zero.index(False)]
            expression = f"-{kept}" if operation == "sub" and zero[0] else kept
        self.quiet_lines.append(f"{name} = {kind}({expression})")
        self._kept.append(result)
        self._names[id(result)] = name  # an operation in place gives its argument a new name
        return result

    def name(self, result: Any) -> str:
        """The name of a tensor that was computed."""
        if not isinstance(result, Tensor) or id(result) not in self._names:
            raise CannotCompile("its result is no tensor computed from its arguments")
        return self._names[id(result)]

    def _value(self, x: Any, operation: str) -> str | None:
        if isinstance(x, Tensor):
            if id(x) in self._names:
                return self._names[id(x)]
            if x.numel() == 1 and not x.dtype.is_complex:
                return self._param(float(x))
            raise CannotCompile("it uses a tensor of its own")
        if isinstance(x, bool | int | float):
            return self._param(float(x))
        if x is None or isinstance(x, torch.dtype | torch.device | torch.layout | torch.memory_format):
            return None
        raise CannotCompile(f"torch.{operation} has no compiled form")

    def _param(self, x: float) -> str:
        self.params.append(x)
        return f"p{len(self.params) - 1}"


def _vanishes(operation: str, zero: list[bool]) -> bool:
    """Whether an operation gives 0 because arguments are 0; what they meet is finite."""
    if operation == "mul":
        return any(zero)
    if operation == "div":
        return zero == [True, False]
    return operation in ("neg", "abs", "detach", "alias", "clone", "_to_copy", "copy") and zero[0]


_IGNORED = ("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "out", "rounding_mode")

_BINARY = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "rsub": "{1} - {0}",
    "maximum": "max({0}, {1})", "minimum": "min({0}, {1})",
    "gt": "{0} > {1}", "ge": "{0} >= {1}", "lt": "{0} < {1}", "le": "{0} <= {1}", "eq": "{0} == {1}",
    "ne": "{0} != {1}", "logical_and": "bool({0}) & bool({1})", "logical_or": "bool({0}) | bool({1})",
    "bitwise_and": "bool({0}) & bool({1})", "bitwise_or": "bool({0}) | bool({1})",
    "logical_xor": "bool({0}) ^ bool({1})", "clamp_min": "max({0}, {1})", "clamp_max": "min({0}, {1})",
    "pow": "power({0}, {1})", "fmax": "max({0}, {1})", "fmin": "min({0}, {1})",
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

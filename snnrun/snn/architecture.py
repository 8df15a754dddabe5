"""Layer lists: ``784-fc800-out`` or ``[2x34x34, conv12c5, apool2, fc10]`` to checked shapes.

Tokens: ``fcN`` dense, ``convNcK`` N maps of K x K kernels (stride 1, size kept), ``apoolK`` / ``mpoolK`` average / max
pooling, ``flatten`` (implied before the first fc), ``out`` = fc with one neuron per class, last. The input
(``784`` or ``2x34x34``) may stand first; it is then held against the data's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from snnrun.errors import UserError

_TOKEN = re.compile(r"(?P<kind>fc|conv|apool|mpool)(?P<size>\d+)(?:c(?P<kernel>\d+))?")
_INPUT = re.compile(r"\d+(x\d+x\d+)?")


@dataclass(frozen=True)
class LayerSpec:
    """One layer: kind (dense, conv, apool, mpool, flatten), its token, sizes, and shapes without time and batch."""

    kind: str
    token: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel: int = 0


def parse_layers(layers: str | Sequence[object], input_shape: tuple[int, ...], outputs: int) -> list[LayerSpec]:
    """Check a layer list against the data and work out every shape.

    Args:
        layers: tokens joined by ``-`` or in a list.
        input_shape: of one step of one sample, (N,) or (C, H, W).
        outputs: neurons that the last layer must have.

    Raises:
        UserError: names ``model.layers`` and the token that does not fit.
    """
    tokens = [str(token).strip() for token in (layers.split("-") if isinstance(layers, str) else layers)]
    shape = input_shape
    if tokens and _INPUT.fullmatch(tokens[0]):
        shape = _given_input(tokens.pop(0), input_shape)
    if not tokens:
        raise _bad(layers, "names no layer", "Try fc128-out")
    specs: list[LayerSpec] = []
    for token in tokens:
        for spec in _parse_token(f"fc{outputs}" if token == "out" else token, shape, layers):
            specs.append(spec)
            shape = spec.out_shape
    if specs[-1].kind != "dense" or shape != (outputs,):
        raise _bad(layers, f"ends with {tokens[-1]}", f"The last layer must be fc{outputs} or out for this data set")
    return specs


def _given_input(token: str, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    given = tuple(int(size) for size in token.split("x"))
    if given != input_shape and given != (math.prod(input_shape),):
        have = "x".join(map(str, input_shape))
        raise UserError(f"model.layers starts with the input {token}, but the data set gives {have}", "Leave it out")
    return input_shape


def _parse_token(token: str, shape: tuple[int, ...], layers: object) -> list[LayerSpec]:
    if token == "flatten":
        return [LayerSpec("flatten", token, shape, (math.prod(shape),))]
    match = _TOKEN.fullmatch(token)
    if match is None or (match["kernel"] is not None) != (match["kind"] == "conv"):
        raise _bad(layers, f"has the token {token!r}", "Use fcN, convNcK, apoolK, mpoolK, flatten or out")
    kind, size, kernel = match["kind"], int(match["size"]), int(match["kernel"] or 0)
    if size == 0 or (kind == "conv" and kernel == 0):
        raise _bad(layers, f"has {token}", "Sizes start at 1")
    if kind == "fc":
        flatten = [LayerSpec("flatten", "flatten", shape, (math.prod(shape),))] if len(shape) > 1 else []
        return [*flatten, LayerSpec("dense", token, (math.prod(shape),), (size,))]
    if len(shape) != 3:
        raise _bad(layers, f"has {token} on a flat input of {shape[0]}", "Put conv and pool before flatten and fc")
    channels, height, width = shape
    if kind == "conv":
        if kernel > 2 * min(height, width) - 1:
            raise _bad(layers, f"has {token} on a map of {height}x{width}", "Take a smaller kernel")
        return [LayerSpec("conv", token, shape, (size, height, width), kernel)]
    if size > min(height, width):
        raise _bad(layers, f"has {token} on a map of {height}x{width}", "The pool must not be larger than the map")
    return [LayerSpec(kind, token, shape, (channels, height // size, width // size), size)]


def _bad(layers: object, what: str, hint: str) -> UserError:
    text = layers if isinstance(layers, str) else "-".join(map(str, layers))  # type: ignore[call-overload]
    return UserError(f"model.layers {text} {what}", hint)

"""The fast kernel for CPUs: numba loops that need no compiler on the user's machine.

Same signatures as :mod:`snnrun.kernels.reference`; networks of dense layers only run as a whole on lists of events, see
:mod:`snnrun.kernels.cpu.dense`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numba.core import event
from torch import Tensor

from snnrun.kernels.constants import NeuronConstants
from snnrun.kernels.cpu import cells
from snnrun.kernels.cpu.buffers import empty_tensor
from snnrun.kernels.cpu.convolution import convolve, transposed_at
from snnrun.kernels.cpu.dense import constants_array
from snnrun.kernels.cpu.formula import CompiledFormula, compile_formula
from snnrun.kernels.cpu.pooling import average_pool, spread
from snnrun.kernels.cpu.recorder import CannotCompile
from snnrun.kernels.cpu.rows import WIDTHS
from snnrun.kernels.cpu.threads import run
from snnrun.kernels.reference import Backward, Formula, Forward, slope

log = logging.getLogger("snnrun")

ON_EVENTS = True  # chains of dense layers need no raster

_WIDTH = WIDTHS[-1]
_BLOCK = (0,) * (_WIDTH // 16)


class _Compiling(event.Listener):  # type: ignore[misc]
    """Tells once that numba compiles, where nothing compiled was found."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell: Callable[[str], None] | None = tell

    def on_start(self, event: Any) -> None:
        if self.tell is not None:
            self.tell("compiling the CPU kernel, once per installation: some 20 seconds ...")
            self.tell = None

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def telling(tell: Callable[[str], None]) -> Iterator[None]:
    """While entered, ``tell`` hears of compilation, the first time."""
    listener = _Compiling(tell)
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)


def prepare(formula: Formula) -> Formula | CompiledFormula:
    """The compiled form of a method's formula, or the formula itself where it has none (torch then evaluates it)."""
    try:
        return compile_formula(formula)
    except CannotCompile as reason:
        log.warning("the method's formula is left to torch, which is slower: %s", reason)
        return formula


def simulate(current: Tensor, bias: Tensor | None, c: NeuronConstants) -> Forward:
    """Run the neuron over all steps, see :func:`snnrun.kernels.reference.simulate`."""
    cell_shape = current.shape[1:]
    drive = torch.zeros(cell_shape) if bias is None else (c.beta_bias * bias.detach()).expand(cell_shape)
    flat = _padded(current.detach())
    spikes, potential = empty_tensor(flat.shape), empty_tensor(flat.shape)
    run(
        cells.simulate,
        flat.numpy(),
        _padded(drive[None]).numpy(),
        constants_array(c),
        spikes.numpy(),
        potential.numpy(),
        before=(_BLOCK,),
        tasks=-(-flat.shape[1] // (_WIDTH * cells.PER_TASK)),
        work=flat.numel(),
    )
    return Forward(_cut(spikes, current.shape), _cut(potential, current.shape))


def backpropagate(
    formula: Formula | CompiledFormula,
    gs: Tensor,
    gt: Tensor,
    forward: Forward,
    c: NeuronConstants,
    with_timing: bool = True,
) -> Backward:
    """Run the reverse recurrences once, see :func:`snnrun.kernels.reference.backpropagate`."""
    shape = forward.potential.shape
    if not isinstance(formula, CompiledFormula):
        gs = formula(gs, gt, forward.potential, forward.spikes, slope(forward))
        formula, gt = compile_formula(_given), torch.zeros(())
    potential = _padded(forward.potential)
    gs = _padded(gs.expand(shape))
    gt_array = _padded(gt).numpy() if gt.shape == shape else np.zeros((0, 0), np.float32)
    current, bias = empty_tensor(potential.shape), torch.empty_like(potential[:1])
    timing = empty_tensor(potential.shape) if with_timing else torch.empty(0, 0)
    run(
        cells.backpropagate,
        formula.addresses(_WIDTH, with_timing),
        formula.constants(c),
        gs.numpy(),
        gt_array,
        potential.numpy(),
        current.numpy(),
        timing.numpy(),
        bias.numpy(),
        before=(_BLOCK,),
        tasks=-(-potential.shape[1] // (_WIDTH * cells.PER_TASK)),
        work=2.0 * potential.numel(),
    )
    return Backward(
        _cut(current, shape), _cut(timing, shape) if with_timing else None, c.beta_bias * _cut(bias, shape)[0]
    )


def _given(gs: Tensor, gt: Tensor, v: Tensor, s: Tensor, slope: Tensor) -> Tensor:
    return gs


def _padded(x: Tensor) -> Tensor:
    """[T, ...] to contiguous [T, cells], with zeros up to the width of one block."""
    flat = x.flatten(1)
    missing = _WIDTH - flat.shape[1]
    return (torch.nn.functional.pad(flat, (0, missing)) if missing > 0 else flat).contiguous()


def _cut(flat: Tensor, shape: torch.Size) -> Tensor:
    return flat[:, : shape[1:].numel()].reshape(flat.shape[0], *shape[1:])


__all__ = [
    "ON_EVENTS",
    "average_pool",
    "backpropagate",
    "convolve",
    "prepare",
    "simulate",
    "spread",
    "telling",
    "transposed_at",
]

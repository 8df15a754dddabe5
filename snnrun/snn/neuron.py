"""The spiking neuron: one autograd function in which the gradient method meets the recurrences."""

from __future__ import annotations

from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from snnrun.kernels import NeuronConstants
from snnrun.kernels.reference import Forward
from snnrun.methods import Method
from snnrun.snn.spikes import Spikes


class Neuron:
    """Turns synaptic currents into spikes, and dL/d(spikes) into dL/d(currents).

    Args:
        constants: decay and scale constants.
        method: decides dL/dV from both gradient channels.
        kernel: module with ``simulate`` and ``backpropagate``.
    """

    def __init__(self, constants: NeuronConstants, method: Method, kernel: ModuleType) -> None:
        self.constants, self.method, self.kernel = constants, method, kernel
        self.reads_timing = "timing" in method.channels

    @cached_property
    def formula(self) -> Any:
        """The method's formula as the kernel takes it; prepared when the first gradient is computed."""
        return self.kernel.prepare(self.method.membrane_gradient)

    @property
    def formula_is_torch(self) -> bool:
        """Whether the kernel leaves the method's formula to torch."""
        return callable(self.formula)

    def __call__(self, current: Tensor, timing_current: Tensor | None, bias: Tensor | None) -> Spikes:
        """Run all steps.

        Args:
            current: W x[t], [T, B, ...].
            timing_current: W (x[t] * twin), zero in value, same shape; None where nothing below has spike times.
            bias: broadcast against [...], or None.

        Returns:
            Spikes [T, B, ...]; without a timing twin where the method reads no timing gradient.
        """
        s, t = _NeuronFunction.apply(current, timing_current, bias, self)  # type: ignore[no-untyped-call]
        return Spikes(s, t if self.reads_timing else None)


class _NeuronFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, timing_current: Tensor | None, bias: Tensor | None, neuron: Neuron
    ) -> tuple[Tensor, Tensor]:
        result = neuron.kernel.simulate(current, bias, neuron.constants)
        ctx.neuron = neuron
        ctx.save_for_backward(*result, bias)
        return result.spikes, result.spikes.new_zeros(()).expand_as(result.spikes)

    @staticmethod
    def backward(ctx: Any, gs: Tensor, gt: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        *saved, bias = ctx.saved_tensors
        neuron: Neuron = ctx.neuron
        result = neuron.kernel.backpropagate(
            neuron.formula, gs, gt, Forward(*saved), neuron.constants, ctx.needs_input_grad[1]
        )
        grad_bias = result.bias.sum(0).sum_to_size(bias.shape) if ctx.needs_input_grad[2] else None
        return result.current, result.timing_current, grad_bias, None

"""What a gradient method is: an element-wise formula for dL/dV, and at most a hook on weight gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn


class DenseActivity(NamedTuple):
    """A dense layer after one backward pass, for the hook on its weight gradients.

    Attributes:
        weight: the parameter [N, fan_in], its ``grad`` set.
        silent_share: share of the batch in which each neuron stayed silent, [N].
        mean_spikes: spikes of each neuron per sample, [N].
        rate_weight: weight r of the firing-rate penalty on this layer (0: no penalty, or an output layer).
    """

    weight: nn.Parameter
    silent_share: Tensor
    mean_spikes: Tensor
    rate_weight: float


@dataclass
class Method:
    """Base of gradient methods; a subclass with a formula and a registered name is a complete method."""

    name: ClassVar[str]

    @property
    def channels(self) -> frozenset[str]:
        """Which of the two gradients the formula reads: "activation" (gs), "timing" (gt).

        A loss that feeds none of them is refused, and a channel that is not read is not computed.
        """
        return frozenset({"activation", "timing"})

    @property
    def has_weight_hook(self) -> bool:
        """Whether the method changes weight gradients; what its hook is shown is not computed otherwise."""
        return type(self).adjust_weight_gradient is not Method.adjust_weight_gradient

    def membrane_gradient(self, gs: Tensor, gt: Tensor, v: Tensor, s: Tensor, slope: Tensor) -> Tensor:
        """dL/dV, element by element.

        Args:
            gs: dL/dS, defined at every step. All arguments have one shape, [T, B, ...] or any block of it.
            gt: dL/d(spike time), meant only where s is 1.
            v: membrane potential, threshold 1.
            s: spikes, 0 or 1.
            slope: dV/dt, clamped from below to 0.01.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a membrane_gradient")

    def adjust_weight_gradient(self, layer: DenseActivity) -> None:
        """Change ``layer.weight.grad`` in place, after backward and before clipping. Dense layers only."""

"""Activation-based gradient: a surrogate derivative of the spike with respect to the membrane potential."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from snnrun.methods.base import Method
from snnrun.registry import Search, param, register


def surrogate_derivative(v: Tensor, scale: float, sharpness: float) -> Tensor:
    """sigma'(V) = a exp(-b |V - 1|), the exponential surrogate around the threshold 1 (Shrestha & Orchard 2018)."""
    return scale * ((v - 1).abs() * -sharpness).exp()


@register("method", "activation")
@dataclass
class Activation(Method):
    """g = sigma'(V) gS: spikes appear and vanish, they do not move."""

    surrogate_scale: float = param(1.0, gt=0)
    surrogate_sharpness: float = param(3.0, gt=0, search=Search(1.0, 10.0, log=True))

    @property
    def channels(self) -> frozenset[str]:
        return frozenset({"activation"})

    def membrane_gradient(self, gs: Tensor, gt: Tensor, v: Tensor, s: Tensor, slope: Tensor) -> Tensor:
        return surrogate_derivative(v, self.surrogate_scale, self.surrogate_sharpness) * gs

"""Hybrid gradient (ANTLR): spikes are moved in time as well as created and removed (Kim, Kim & Kim 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from snnrun.methods.activation import surrogate_derivative
from snnrun.methods.base import Method
from snnrun.methods.timing import spike_time_gradient
from snnrun.registry import Search, param, register


@register("method", "hybrid")
@dataclass
class Hybrid(Method):
    """g = lambda_act sigma'(V) gS + lambda_tim (-gT / slope at spikes)."""

    lambda_act: float = param(1.0, ge=0, search=Search(0.1, 10.0, log=True))
    lambda_tim: float = param(1.0, ge=0)
    surrogate_scale: float = param(1.0, gt=0)
    surrogate_sharpness: float = param(3.0, gt=0, search=Search(1.0, 10.0, log=True))

    @property
    def channels(self) -> frozenset[str]:
        """Without its weight, a channel teaches nothing."""
        weights = {"activation": self.lambda_act, "timing": self.lambda_tim}
        return frozenset(channel for channel, weight in weights.items() if weight)

    def membrane_gradient(self, gs: Tensor, gt: Tensor, v: Tensor, s: Tensor, slope: Tensor) -> Tensor:
        activation = surrogate_derivative(v, self.surrogate_scale, self.surrogate_sharpness) * gs
        return self.lambda_act * activation + self.lambda_tim * spike_time_gradient(gt, s, slope)

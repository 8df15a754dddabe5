"""Timing-based gradient: existing spikes move in time (SpikeProp's lineage, as in Kim, Kim & Kim 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from snnrun.methods.base import DenseActivity, Method
from snnrun.registry import Search, param, register


def spike_time_gradient(gt: Tensor, s: Tensor, slope: Tensor) -> Tensor:
    """-gT / slope at spikes, 0 elsewhere: a higher potential makes a spike come earlier by 1 / slope."""
    return s * (-gt / slope)


@register("method", "timing")
@dataclass
class Timing(Method):
    """g = -gT / slope at spikes. No gradient can create a spike, hence the no-spike remedy on silent neurons."""

    penalty: float = param(100.0, ge=0, search=Search(1.0, 1000.0, log=True))

    @property
    def channels(self) -> frozenset[str]:
        return frozenset({"timing"})

    def membrane_gradient(self, gs: Tensor, gt: Tensor, v: Tensor, s: Tensor, slope: Tensor) -> Tensor:
        return spike_time_gradient(gt, s, slope)

    def adjust_weight_gradient(self, layer: DenseActivity) -> None:
        """Lift the weights of silent neurons; lower those of active ones where a firing-rate penalty is set.

        dW[o, :] -= penalty / fan_in * share of the batch in which o stayed silent
        dW[o, :] += r / fan_in * mean spikes of o per sample       (this method sees no gS, so the penalty acts here)
        """
        assert layer.weight.grad is not None
        fan_in = layer.weight.shape[1]
        lift = self.penalty * layer.silent_share - layer.rate_weight * layer.mean_spikes
        layer.weight.grad -= (lift / fan_in)[:, None]

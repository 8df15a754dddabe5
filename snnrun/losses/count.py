"""Spike-count loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnrun.losses.base import Loss, Targets
from snnrun.registry import Search, param, register
from snnrun.snn.spikes import Spikes


@register("loss", "count")
@dataclass
class Count(Loss):
    """L = 1/(T B) sum_{b,n} (count - target)^2; target is true_count for the label's neuron, false_count for others."""

    channels = frozenset({"activation"})

    true_count: float = param(1.0, ge=0, search=Search(1, 10))
    false_count: float = param(0.0, ge=0)

    def __call__(self, output: Spikes, targets: Targets) -> Tensor:
        assert targets.label is not None
        T, batch_size, _ = output.s.shape
        count = output.s.sum(0)
        target = torch.full_like(count, self.false_count)
        target.scatter_(1, targets.label[:, None], self.true_count)
        return ((count - target) ** 2).sum() / (T * batch_size)

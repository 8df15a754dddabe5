"""First-spike latency loss: softmax over how early each output fires."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from snnrun.losses.base import Loss, Targets
from snnrun.registry import Search, param, register
from snnrun.snn.spikes import Spikes, first_spike_time


@register("loss", "latency")
@dataclass
class Latency(Loss):
    """L = mean CE(beta (T - t1), label) + lambda_nospike / B * #(samples whose label neuron is silent).

    t1 is the first spike time, T for a silent output. Spike times carry the cross-entropy's gradient; a silent label
    neuron gets gS = -lambda_nospike / B at every step, so that a method with an activation channel can wake it.
    """

    channels = frozenset({"timing"})
    decision = "first"

    beta: float = param(1 / 6, gt=0, search=Search(0.05, 0.5, log=True))
    lambda_nospike: float = param(0.1, ge=0, search=Search(0.03, 3.0, log=True))

    def __call__(self, output: Spikes, targets: Targets) -> Tensor:
        assert targets.label is not None
        s, t = output
        T, batch_size, _ = s.shape
        first = first_spike_time(s)
        t1 = first.to(s.dtype)
        if t is not None:
            twin = t.gather(0, first.clamp(max=T - 1)[None])[0]
            t1 = t1 + twin * (first < T)
        ce = F.cross_entropy(self.beta * (T - t1), targets.label)
        label_count = s.sum(0).gather(1, targets.label[:, None])
        # 1 at count 0 with gradient -1 at every step, and 0 with no gradient from the first spike on
        silent = F.relu(1 - label_count).sum()
        return ce + self.lambda_nospike / batch_size * silent

    @property
    def needs_first_spikes_only(self) -> bool:
        return not self.rate_weight

    def term(self, s: Tensor) -> int:
        """The step by which every output of every sample has fired; T if one stays silent or spikes are penalised."""
        if self.rate_weight:
            return s.shape[0]
        return min(int(first_spike_time(s).max()) + 1, s.shape[0])

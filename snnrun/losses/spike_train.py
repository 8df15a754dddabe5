"""Spike-train loss: the van Rossum distance between output and target trains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnrun.losses.base import Loss, Targets
from snnrun.registry import Search, param, register
from snnrun.snn.spikes import Spikes

_CUT = 1e-6  # the exponential kernel ends below this value


@register("loss", "spike_train")
@dataclass
class SpikeTrain(Loss):
    """L = 1/(T B) sum D^2 over T + extension steps, with D = k * (S - S_target).

    The kernel is k[j] = alpha^j for 0 <= j < T, cut below 1e-6.

    On data with class labels only, the label's neuron should fire every ``period`` steps, first at step period - 1,
    and all others stay silent.
    """

    channels = frozenset({"activation", "timing"})
    needs_labels = False

    alpha: float = param(0.9, gt=0, lt=1, search=Search(0.7, 0.98))
    period: int = param(10, ge=1, search=Search(5, 20))
    extension: int = param(200, ge=0, le=1_000_000)  # steps after the window over which filtered trains still differ

    def __call__(self, output: Spikes, targets: Targets) -> Tensor:
        s, t = output
        T, batch_size, _ = s.shape
        target = self.target_train(s, targets.label) if targets.train is None else targets.train
        kernel, derivative = _kernels(T, self.extension, self.alpha, s)
        distance = kernel @ (s - target).flatten(1)
        if t is not None:
            # a spike that moves by dt changes D by -k'(j) dt, k' by central difference
            distance = distance - derivative @ (s.detach() * t).flatten(1)
        return (distance**2).sum(0).sum() / (T * batch_size)

    def target_train(self, s: Tensor, label: Tensor | None) -> Tensor:
        """The target that a class label stands for, shaped as ``s`` [T, B, N]."""
        assert label is not None
        target = torch.zeros_like(s)
        steps = torch.arange(s.shape[0], device=s.device)[self.period - 1 :: self.period]
        target[steps[:, None], torch.arange(s.shape[1], device=s.device)[None], label[None]] = 1
        return target


def _kernels(T: int, extension: int, alpha: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """k[i - t] and (k[i - t + 1] - k[i - t - 1]) / 2 as matrices [T + extension, T]: filtered step i, spike at t."""
    lag = torch.arange(T + extension, device=like.device)[:, None] - torch.arange(T, device=like.device)[None]

    def k(j: Tensor) -> Tensor:
        value = alpha ** j.clamp(min=0).to(torch.float64)
        return value.where((j >= 0) & (j < T) & (value >= _CUT), 0.0)

    return k(lag).to(like.dtype), ((k(lag + 1) - k(lag - 1)) / 2).to(like.dtype)

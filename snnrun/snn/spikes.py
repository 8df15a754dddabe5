"""Spikes and their timing twin: the two channels through which gradients flow."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Spikes(NamedTuple):
    """What one layer hands to the next.

    Attributes:
        s: spikes, 0 or 1 (after average pooling: real values), shape [T, B, ...]. Its gradient is dL/dS, the
            activation channel: what if this spike appeared or vanished.
        t: the timing twin, all zeros, same shape. Its gradient is dL/d(spike time), the timing channel: what if
            this spike moved later (in steps). None where nothing below asks for it, as for input spikes.
    """

    s: Tensor
    t: Tensor | None = None


def first_spike_time(s: Tensor) -> Tensor:
    """Step of the first spike along dim 0, or T where there is none. [T, ...] -> int64 [...]."""
    T = s.shape[0]
    left = torch.arange(T, 0, -1, device=s.device, dtype=torch.float32).view(-1, *[1] * (s.dim() - 1))
    return T - ((s.detach() > 0) * left).amax(0).long()  # several times faster than argmax

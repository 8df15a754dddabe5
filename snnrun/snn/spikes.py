"""Spikes and their timing twin: the two channels through which gradients flow."""

from __future__ import annotations

from typing import NamedTuple

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
    fired = s > 0
    steps = fired.int().argmax(0)  # the first of several maxima
    return steps.where(fired.any(0), s.shape[0])

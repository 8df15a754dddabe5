"""What a loss is: a number computed from output spikes through both channels, and the decision that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from snnrun.registry import param
from snnrun.snn.spikes import Spikes


class Targets(NamedTuple):
    """What a batch should be turned into: class labels [B], or target spike trains [T, B, N] (0 or 1)."""

    label: Tensor | None = None
    train: Tensor | None = None


@dataclass
class Loss:
    """Base of losses. A loss reads ``s`` (its gradient is the activation channel) and ``t`` (the timing channel).

    Attributes:
        channels: the gradient channels that it feeds; a method that reads none of them cannot learn from it.
        decision: "count" (most spikes) or "first" (earliest spike): how ``acc`` decides.
        needs_labels: whether class labels are required; otherwise target trains will do.
        rate_weight: weight r of the firing-rate penalty r / B * (spikes of all hidden layers).
    """

    name: ClassVar[str]
    channels: ClassVar[frozenset[str]]
    decision: ClassVar[str] = "count"
    needs_labels: ClassVar[bool] = True

    rate_weight: float = param(0.0, ge=0)

    def __call__(self, output: Spikes, targets: Targets) -> Tensor:
        """The loss of a batch, a scalar; ``output`` is [T, B, N]."""
        raise NotImplementedError(f"{type(self).__name__} needs a __call__")

    def term(self, s: Tensor) -> int:
        """Steps that count for the no-spike remedy: T, unless the loss needs no more than the first spikes."""
        return s.shape[0]

    @property
    def needs_first_spikes_only(self) -> bool:
        """Whether nothing after the first spike of every output counts, so that a simulation may end there."""
        return False

    def rate_penalty(self, hidden: Sequence[Tensor], batch_size: int) -> Tensor | float:
        """r / B * (spikes of all hidden layers); gives gS += r / B at every step of hidden layers.

        Args:
            hidden: spikes of each hidden layer in the whole batch, scalars.
        """
        if not self.rate_weight or not hidden:
            return 0.0
        return self.rate_weight / batch_size * torch.stack(list(hidden)).sum()

"""What one forward pass leaves behind, per spiking layer, in dense tensors or as events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from snnrun.snn.layers import Synapse
from snnrun.snn.spikes import Spikes, first_spike_time


class LayerTrace(ABC):
    """What one spiking layer did. B samples; ``...`` is the layer's shape.

    Attributes:
        synapse: its weights.
        total: its spikes in the whole batch, a scalar; its gradient is dL/dS of every spike.
    """

    synapse: Synapse
    total: Tensor

    @property
    @abstractmethod
    def spikes(self) -> Spikes:
        """Its spikes, dense [T, B, ...]."""

    @abstractmethod
    def counts(self) -> Tensor:
        """Spikes of each neuron, float32 [B, ...]."""

    @abstractmethod
    def silent(self, term: int) -> Tensor:
        """Which neurons have no spike in the first ``term`` steps, bool [B, ...]."""

    @abstractmethod
    def per_step(self) -> Tensor:
        """Spikes of all its neurons, float64 [T, B]."""

    @abstractmethod
    def synops(self) -> Tensor:
        """Synaptic operations, int64 [B]: each non-zero input times the synapses that it really has."""


class DenseTrace(LayerTrace):
    """A layer whose spikes are a tensor; ``seen`` is the input to its synapse (after pooling)."""

    def __init__(self, synapse: Synapse, seen: Tensor, spikes: Spikes) -> None:
        self.synapse, self.seen, self._spikes = synapse, seen, spikes

    @property
    def total(self) -> Tensor:  # type: ignore[override]
        return self._spikes.s.sum(0).sum()

    @property
    def spikes(self) -> Spikes:
        return self._spikes

    def counts(self) -> Tensor:
        return self._spikes.s.sum(0)

    def silent(self, term: int) -> Tensor:
        return self._spikes.s[:term].sum(0) == 0

    def per_step(self) -> Tensor:
        return self._spikes.s.flatten(2).sum(2).double()

    def synops(self) -> Tensor:
        return self.synapse.synops(self.seen)


class Trace(NamedTuple):
    """One forward pass; a :class:`LayerTrace` per spiking layer, the output layer last.

    Attributes:
        output: spikes of the output layer, [T, B, classes].
        steps: simulated; fewer than T where the pass was allowed to stop once all outputs had fired.
    """

    layers: tuple[LayerTrace, ...]
    output: Spikes
    steps: int

    @property
    def hidden(self) -> tuple[LayerTrace, ...]:
        return self.layers[:-1]


def term(output: Tensor) -> int:
    """The step by which every output of every sample has fired, counted from 1; T if one stays silent."""
    return min(int(first_spike_time(output).max()) + 1, output.shape[0])


@torch.no_grad()
def silent_shares(trace: Trace) -> list[float]:
    """Per spiking layer, the share of its neurons without a single spike in the whole batch."""
    T = trace.output.s.shape[0]
    return [layer.silent(T).all(0).float().mean().item() for layer in trace.layers]

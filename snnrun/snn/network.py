"""A feed-forward spiking network built from a layer list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snnrun.snn.architecture import LayerSpec
from snnrun.snn.layers import POOLS, Conv, Dense, Flatten, Synapse
from snnrun.snn.neuron import Neuron
from snnrun.snn.spikes import Spikes


class LayerTrace(NamedTuple):
    """What one spiking layer saw and did: its synapse, the input to its synapse (after pooling), its spikes."""

    synapse: Synapse
    input: Tensor
    spikes: Spikes


class Trace(NamedTuple):
    """One forward pass; a :class:`LayerTrace` per spiking layer, the output layer last."""

    layers: tuple[LayerTrace, ...]

    @property
    def output(self) -> Spikes:
        """Spikes of the output layer, [T, B, classes]."""
        return self.layers[-1].spikes

    @property
    def hidden(self) -> tuple[LayerTrace, ...]:
        return self.layers[:-1]


class Network(nn.Module):
    """Synapses, neurons and pools in the order of a layer list.

    Args:
        specs: layers as checked by :func:`snnrun.snn.architecture.parse_layers`.
        neuron: one neuron model for all layers; it holds the gradient method and the kernel.
    """

    def __init__(self, specs: Sequence[LayerSpec], neuron: Neuron) -> None:
        super().__init__()
        self.specs = tuple(specs)
        self.neuron = neuron
        self.stages = nn.ModuleList(_build(spec) for spec in specs)

    @property
    def synapses(self) -> list[Synapse]:
        """The weighted layers, input to output."""
        return [stage for stage in self.stages if isinstance(stage, Synapse)]

    def forward(self, spikes: Tensor) -> Trace:
        """Simulate all steps.

        Args:
            spikes: input, [T, B, *input shape], 0 or 1.
        """
        x = Spikes(spikes)
        layers = []
        for stage in self.stages:
            if isinstance(stage, Synapse):
                seen = x.s
                x = self.neuron(*stage.currents(x), stage.bias_per_neuron())
                layers.append(LayerTrace(stage, seen, x))
            else:
                x = stage(x)
        return Trace(tuple(layers))


def _build(spec: LayerSpec) -> nn.Module:
    if spec.kind == "dense":
        return Dense(spec.in_shape[0], spec.out_shape[0])
    if spec.kind == "conv":
        return Conv(spec.in_shape[0], spec.out_shape[0], spec.kernel)
    return Flatten() if spec.kind == "flatten" else POOLS[spec.kind](spec.kernel)


@torch.no_grad()
def silent_shares(trace: Trace) -> list[float]:
    """Per spiking layer, the share of its neurons without a single spike in the whole batch."""
    return [1 - layer.spikes.s.any(0).any(0).float().mean().item() for layer in trace.layers]

"""A feed-forward spiking network built from a layer list."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snnrun.snn.architecture import LayerSpec
from snnrun.snn.events import Events
from snnrun.snn.layers import POOLS, AveragePool, Conv, Dense, Flatten, Synapse
from snnrun.snn.neuron import Neuron
from snnrun.snn.spikes import Spikes
from snnrun.snn.trace import DenseTrace, LayerTrace, Trace


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
        for stage in self.stages:
            if isinstance(stage, Conv | AveragePool):
                stage.use(neuron.kernel)
        # by the last pass that was allowed to end early; decides where the next one looks first, so checkpoints hold it
        self.steps_needed: int | None = None

    @property
    def synapses(self) -> list[Synapse]:
        """The weighted layers, input to output."""
        return [stage for stage in self.stages if isinstance(stage, Synapse)]

    def forward(self, spikes: Tensor | Events, until_fired: bool = False) -> Trace:
        """Simulate all steps.

        Args:
            spikes: input, 0 or 1, as events or dense [T, B, *input shape].
            until_fired: the caller needs no more than the first spike of every output neuron (latency loss). Where
                that is faster, the simulation ends once all have fired, and the steps after it are left silent.
        """
        if self._runs_on_events():
            return self._on_events(spikes if isinstance(spikes, Events) else Events.from_dense(spikes), until_fired)
        x = Spikes(spikes.dense() if isinstance(spikes, Events) else spikes)
        layers: list[LayerTrace] = []
        for stage in self.stages:
            if isinstance(stage, Synapse):
                seen = x.s
                x = self.neuron(*stage.currents(x), stage.bias_per_neuron())
                layers.append(DenseTrace(stage, seen, x))
            else:
                x = stage(x)
        return Trace(tuple(layers), x, x.s.shape[0])

    def _runs_on_events(self) -> bool:
        """Whether all layers are dense and the kernel knows chains of them; a formula left to torch rules it out."""
        return (
            getattr(self.neuron.kernel, "ON_EVENTS", False)
            and all(spec.kind in ("dense", "flatten") for spec in self.specs)
            and not (torch.is_grad_enabled() and self.neuron.formula_is_torch)
        )

    def _on_events(self, events: Events, until_fired: bool) -> Trace:
        from snnrun.snn import fused

        T = events.T
        likely = None if self.steps_needed is None or self.steps_needed > 0.8 * T else self.steps_needed + T // 16
        chain = [stage for stage in self.stages if isinstance(stage, Dense)]
        trace, needed = fused.run(self.neuron, chain, events, until_fired, likely if until_fired else None)
        if until_fired:
            self.steps_needed = needed
        return trace


def _build(spec: LayerSpec) -> nn.Module:
    if spec.kind == "dense":
        return Dense(spec.in_shape[0], spec.out_shape[0])
    if spec.kind == "conv":
        return Conv(spec.in_shape[0], spec.out_shape[0], spec.kernel)
    return Flatten() if spec.kind == "flatten" else POOLS[spec.kind](spec.kernel)

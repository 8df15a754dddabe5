"""Networks of dense layers on the fast CPU kernel: the whole chain is one autograd function, events in and events out.

Between layers there is no dense raster, neither of spikes nor (but for the membrane potential) of anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from snnrun.kernels.cpu import dense as engine
from snnrun.snn.events import Events
from snnrun.snn.layers import Dense, Synapse
from snnrun.snn.neuron import Neuron
from snnrun.snn.spikes import Spikes
from snnrun.snn.trace import LayerTrace, Trace

_PIECE = 8  # a window that may end early is simulated in this many pieces


@dataclass
class _Pass:
    """One forward pass: what goes in, and what it leaves for the backward pass and for statistics."""

    neuron: Neuron
    synapses: Sequence[Dense]
    inputs: engine.EventArrays
    T: int
    until_fired: bool
    keep: bool
    first_piece: int
    layers: list[engine.Layer] = field(default_factory=list)
    records: list[engine.Record] = field(default_factory=list)


def run(
    neuron: Neuron, synapses: Sequence[Dense], events: Events, until_fired: bool, first_piece: int | None
) -> tuple[Trace, int]:
    """Simulate a chain of dense layers.

    Args:
        events: input spikes.
        until_fired: stop once every output neuron of every sample has fired.
        first_piece: steps after which to look for the first time; None: not before the end.

    Returns:
        The trace, and the steps by which all outputs had fired (more than were simulated: one is silent).
    """
    parameters = [parameter for synapse in synapses for parameter in (synapse.weight, synapse.bias)]
    keep = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters)
    inputs = engine.EventArrays(events.offsets.numpy(), events.address.numpy())
    done = _Pass(neuron, synapses, inputs, events.T, until_fired, keep, first_piece or events.T)
    s, t, *totals = _Chain.apply(done, *parameters)  # type: ignore[no-untyped-call]
    layers = []
    for index, (synapse, record, total) in enumerate(zip(synapses, done.records, totals, strict=True)):
        layer_inputs = done.records[index - 1].events if index else inputs
        layers.append(EventTrace(synapse, layer_inputs, record, total))
    output = Spikes(s, t if neuron.reads_timing else None)
    needed = engine.steps_needed(done.records[-1]) if until_fired else events.T
    return Trace(tuple(layers), output, done.records[-1].steps), needed


class EventTrace(LayerTrace):
    """A layer whose spikes are a list of events; dense on demand."""

    def __init__(self, synapse: Synapse, inputs: engine.EventArrays, record: engine.Record, total: Tensor) -> None:
        self.synapse, self.inputs, self.record, self.total = synapse, inputs, record, total

    @property
    def spikes(self) -> Spikes:
        return Spikes(engine.output_spikes(self.record))

    def counts(self) -> Tensor:
        return torch.from_numpy(engine.spike_counts(self.record, self.record.steps))

    def silent(self, term: int) -> Tensor:
        return torch.from_numpy(engine.spike_counts(self.record, term)) == 0

    def per_step(self) -> Tensor:
        return torch.from_numpy(self.record.events.offsets).diff(dim=1).T.double()

    def synops(self) -> Tensor:
        offsets = torch.from_numpy(self.inputs.offsets)
        return (offsets[:, -1] - offsets[:, 0]) * self.synapse.weight.shape[0]


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, done: _Pass, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        constants, T, B = done.neuron.constants, done.T, done.inputs.offsets.shape[0]
        for synapse in done.synapses:
            done.layers.append(engine.layout(synapse.weight, synapse.bias, constants))
            done.records.append(engine.new_record(done.layers[-1].blocks, T, B, done.keep))
        stop = min(done.first_piece, T)
        while True:
            inputs = done.inputs
            for layer, record in zip(done.layers, done.records, strict=True):
                engine.advance(layer, inputs, record, constants, stop)
                inputs = record.events
            if stop == T or (done.until_fired and engine.steps_needed(done.records[-1]) <= stop):
                break
            stop = min(T, stop + -(-T // _PIECE))
        for record in done.records:
            engine.close(record)
        ctx.done = done
        ctx.save_for_backward(*parameters)
        s = engine.output_spikes(done.records[-1])
        totals = [torch.tensor(float(record.ends.sum())) for record in done.records]
        return s, torch.zeros_like(s), *totals

    @staticmethod
    def backward(ctx: Any, gs: Tensor | None, gt: Tensor | None, *totals: Tensor | None) -> tuple[Tensor | None, ...]:
        done: _Pass = ctx.done
        weights = ctx.saved_tensors[::2]
        T, B = done.T, done.inputs.offsets.shape[0]
        zero = torch.zeros(T, B, done.layers[-1].blocks.neurons)
        gradients = engine.backpropagate(
            done.layers,
            weights,
            done.inputs,
            done.records,
            done.neuron.formula,
            done.neuron.constants,
            zero if gs is None else gs,
            zero if gt is None else gt,
            [0.0 if total is None else float(total) for total in totals],
            frozenset(done.neuron.method.channels),
        )
        return None, *(gradient for layer in gradients for gradient in layer)

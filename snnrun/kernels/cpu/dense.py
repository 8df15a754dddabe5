"""A chain of dense layers on events: the compiled loops, on whole batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnrun.kernels.constants import NeuronConstants
from snnrun.kernels.cpu import backward_loops, event_loops, forward_loops
from snnrun.kernels.cpu.buffers import Buffers
from snnrun.kernels.cpu.formula import CompiledFormula
from snnrun.kernels.cpu.rows import WIDTHS
from snnrun.kernels.cpu.threads import run

_FUSED = 48  # neurons above up to which their product is part of the loops; beyond, a matrix product is faster
_TASKS = 16  # enough for threads to share evenly; a number of its own, for results must not depend on the threads
_PARTIAL_SUMS = 1 << 21  # weights up to which groups of samples may have sums of their own
_CHUNK_BYTES = 64 << 20  # of dense gradients between layers

_NONE3, _NONE4 = np.zeros((0, 1, 1), np.float32), np.zeros((0, 1, 1, 1), np.float32)


class EventArrays(NamedTuple):
    """Spikes of a batch: sample b at step t has address[offsets[b, t] : offsets[b, t + 1]]."""

    offsets: np.ndarray
    address: np.ndarray


class Blocks(NamedTuple):
    """How a layer's neurons are cut into blocks."""

    fan_in: int
    neurons: int
    width: int
    number: int

    @property
    def padded(self) -> int:
        return self.width * self.number

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of weights, input-major."""
        return self.fan_in, self.number, self.width

    @property
    def lanes(self) -> tuple[int, ...]:
        return (0,) * (self.width // 16)


def cut(fan_in: int, neurons: int) -> Blocks:
    """The width with the fewest idle lanes; the wider one of two that are equal."""
    width = min(WIDTHS, key=lambda w: (-(-neurons // w) * w, -w))
    return Blocks(fan_in, neurons, width, -(-neurons // width))


class Layer(NamedTuple):
    """One layer's weights [fan_in, K, W] and bias drive [K, W], for one forward and backward pass."""

    blocks: Blocks
    weight: np.ndarray
    drive: np.ndarray


class Kept(NamedTuple):
    """Potentials of one forward pass for its backward pass, [K, B, T, W], and the memory that they borrow."""

    potential: np.ndarray
    buffers: Buffers


@dataclass
class Record:
    """What one layer did in one forward pass; layouts as in :mod:`snnrun.kernels.cpu.forward_loops`.

    Attributes:
        events: its spikes; ``ends`` [K, B] counts them.
        kept: what the backward pass needs and uses up; None where none will follow.
        steps: simulated; later steps are silent.
    """

    blocks: Blocks
    events: EventArrays
    lanes: np.ndarray
    counts: np.ndarray
    ends: np.ndarray
    taken: np.ndarray
    state: np.ndarray
    kept: Kept | None
    buffers: Buffers
    steps: int = 0


class Gradients(NamedTuple):
    """Of one layer: weight [N, fan_in], bias [N]."""

    weight: Tensor
    bias: Tensor


def layout(weight: Tensor, bias: Tensor, c: NeuronConstants) -> Layer:
    """Weights [N, fan_in] and bias [N] as the loops want them; no copy where they lie in memory like that."""
    neurons, fan_in = weight.shape
    blocks = cut(fan_in, neurons)
    rows = weight.detach().t()
    if blocks.padded > neurons:
        rows = torch.nn.functional.pad(rows, (0, blocks.padded - neurons))
    drive = np.zeros(blocks.padded, np.float32)
    drive[:neurons] = c.beta_bias * bias.detach().numpy()
    return Layer(blocks, rows.contiguous().numpy().reshape(blocks.shape), drive.reshape(blocks.number, blocks.width))


def new_record(blocks: Blocks, T: int, B: int, keep: bool) -> Record:
    """A layer at rest before step 0; ``keep`` what a backward pass needs."""
    buffers = Buffers()
    K, W = blocks.number, blocks.width
    offsets = np.zeros((B, T + 1), np.int64)
    offsets[:, 0] = np.arange(B) * (T * blocks.neurons)
    kept = None
    if keep:
        memory = Buffers()
        kept = Kept(memory.empty((K, B, T, W), np.float32), memory)
    return Record(
        blocks=blocks,
        events=EventArrays(offsets, buffers.empty((B * T * blocks.neurons,), np.int32)),
        lanes=buffers.empty((K, B, T * W), np.uint8),
        counts=buffers.empty((K, B, T), np.uint8),
        ends=np.zeros((K, B), np.int64),
        taken=np.zeros((K, B), np.int64),
        state=np.zeros((2, K, B, W), np.float32),
        kept=kept,
        buffers=buffers,
    )


def advance(layer: Layer, inputs: EventArrays, record: Record, c: NeuronConstants, stop: int) -> None:
    """Simulate a layer from where its record ends up to step ``stop`` (exclusive)."""
    K, B, _ = record.counts.shape
    start, blocks = record.steps, layer.blocks
    steps = stop - start
    events = int((inputs.offsets[:, stop] - inputs.offsets[:, start]).sum())
    groups = min(B, -(-_TASKS // K))
    run(
        forward_loops.forward,
        groups,
        layer.weight,
        layer.drive,
        *inputs,
        constants_array(c),
        start,
        stop,
        record.state,
        _NONE4 if record.kept is None else record.kept.potential,
        record.lanes,
        record.counts,
        record.ends,
        before=(blocks.lanes,),
        tasks=K * groups,
        work=B * steps * blocks.padded / 2 + events * blocks.padded / 4,
    )
    run(
        forward_loops.merge,
        start,
        stop,
        blocks.width,
        record.counts,
        record.lanes,
        record.taken,
        *record.events,
        tasks=B,
        work=B * steps * K * 2,
    )
    record.steps = stop


def close(record: Record) -> None:
    """Declare the steps that were not simulated silent."""
    record.counts[:, :, record.steps :] = 0
    record.events.offsets[:, record.steps + 1 :] = record.events.offsets[:, record.steps, None]


def output_spikes(record: Record) -> Tensor:
    """Spikes of a layer, dense, 0 or 1, [T, B, N]."""
    B, T = record.events.offsets.shape[0], record.counts.shape[2]
    spikes = torch.zeros(T, B, record.blocks.neurons)
    run(event_loops.densify, *record.events, spikes.numpy(), tasks=B, work=spikes.numel())
    return spikes


def spike_counts(record: Record, term: int) -> np.ndarray:
    """Spikes of each neuron in the first ``term`` steps, float32 [B, N]."""
    B, N = record.events.offsets.shape[0], record.blocks.neurons
    counts = np.zeros((B, N), np.float32)
    run(event_loops.count, *record.events, min(term, record.steps), counts, tasks=B, work=float(record.ends.sum()))
    return counts


def steps_needed(record: Record) -> int:
    """Steps by which every neuron of every sample has fired; more than were simulated if one is silent."""
    return int(event_loops.last_needed(*record.events, record.blocks.neurons, record.steps))


def backpropagate(
    layers: Sequence[Layer],
    weights: Sequence[Tensor],
    inputs: EventArrays,
    records: Sequence[Record],
    formula: CompiledFormula,
    c: NeuronConstants,
    gs: Tensor,
    gt: Tensor,
    gs_every: Sequence[float],
    channels: frozenset[str],
) -> list[Gradients]:
    """Gradients of all layers; potentials are used up.

    Args:
        layers, weights: packed and as they are, input to output.
        inputs: events of the input.
        records: of the forward pass.
        gs, gt: dL/dS and dL/dt of the output spikes, [T, B, N].
        gs_every: per layer, what is added to dL/dS of all its spikes.
        channels: which of "activation" and "timing" the formula reads; the other one is not computed.

    Raises:
        RuntimeError: there was a backward pass already.
    """
    if any(record.kept is None for record in records):
        raise RuntimeError("this forward pass was backpropagated before; its potentials are gone")
    _, B, T = records[0].counts.shape
    sums = [_Sums.empty(layer.blocks, B) for layer in layers]
    above = [_above(layers[i], layers[i + 1], weights[i + 1]) for i in range(len(layers) - 1)]
    from_end = not formula.zero_to_zero or any(gs_every)
    chunk = max(1, min(B, _CHUNK_BYTES // (4 * T * max(_dense_cells(layers), 1))))
    gs_array, gt_array = gs.contiguous().numpy(), gt.contiguous().numpy()
    for first in range(0, B, chunk):
        n = min(chunk, B - first)
        part = slice(first, first + n)
        memory = Buffers()
        shape = (n, T, layers[-1].blocks.number, layers[-1].blocks.width)
        given_s, given_t, lasts = (
            memory.empty(shape, np.float32),
            memory.empty(shape, np.float32),
            np.empty(n, np.int64),
        )
        run(
            event_loops.inject, np.ascontiguousarray(gs_array[:, part]), np.ascontiguousarray(gt_array[:, part]),
            from_end, given_s, given_t, lasts, tasks=n, work=gs_array[:, part].size * 4,
        )  # fmt: skip
        gi_above = e2_above = _NONE4
        product, weight_above = _NONE3, _NONE3
        for index in reversed(range(len(layers))):
            layer, record = layers[index], records[index]
            assert record.kept is not None
            blocks = layer.blocks
            below_shape = (n, T, blocks.number, blocks.width) if index else (0, 1, 1, 1)
            gi = memory.empty(below_shape, np.float32) if "activation" in channels else _NONE4
            e2 = memory.empty(below_shape, np.float32) if "timing" in channels else _NONE4
            events = inputs if index == 0 else records[index - 1].events
            run(
                backward_loops.backward, sums[index].groups, formula.addresses(blocks.width, e2.size > 0),
                formula.constants(c), first, lasts, record.kept.potential, record.lanes, record.counts, record.ends,
                *events, np.float32(gs_every[index]), given_s, given_t, gi_above, e2_above, product, weight_above,
                gi, e2, sums[index].weight, sums[index].bias,
                before=(blocks.lanes,), tasks=blocks.number * sums[index].groups, work=2.0 * n * T * blocks.padded,
            )  # fmt: skip
            if index:
                gi_above, e2_above, weight_above = gi, e2, layer.weight
                given_t = _NONE4
                product, given_s = _NONE3, _NONE4
                dense = above[index - 1]
                if "activation" not in channels:
                    pass
                elif layer.blocks.neurons <= _FUSED:
                    lower = layers[index - 1].blocks
                    product = dense.numpy()[: blocks.neurons].reshape(blocks.neurons, lower.number, lower.width)
                else:
                    given_s = _times(gi, dense, layers[index - 1].blocks, gs_every[index - 1], memory)
    for record in records:
        record.kept = None
    return [sums[i].gradients(layers[i].blocks, c) for i in range(len(layers))]


def _times(gi: np.ndarray, dense: Tensor, lower: Blocks, every: float, memory: Buffers) -> np.ndarray:
    n, T = gi.shape[:2]
    out = memory.empty((n, T, lower.number, lower.width), np.float32)
    flat = torch.from_numpy(out.reshape(n * T, lower.padded))
    torch.mm(torch.from_numpy(gi.reshape(n * T, -1)), dense, out=flat)
    if every:
        flat += every
    return out


def _above(lower: Layer, upper: Layer, weight: Tensor) -> Tensor:
    """Weights [N', N] of the upper layer with idle lanes as zeros, [padded', padded of the lower layer]."""
    dense = torch.zeros(upper.blocks.padded, lower.blocks.padded)
    dense[: upper.blocks.neurons, : upper.blocks.fan_in] = weight.detach()
    return dense


def _dense_cells(layers: Sequence[Layer]) -> int:
    """Numbers per step and sample that lie between the layers in a backward pass."""
    cells = sum(2 * upper.blocks.padded for upper in layers[1:]) + 2 * layers[-1].blocks.padded
    wide = [lower.blocks.padded for lower, upper in pairwise(layers) if upper.blocks.neurons > _FUSED]
    return cells + sum(wide)


class _Sums(NamedTuple):
    """Gradients while they are summed; small layers have a sum for each of several groups of samples."""

    groups: int
    weight: np.ndarray
    bias: np.ndarray
    memory: Buffers

    @classmethod
    def empty(cls, blocks: Blocks, B: int) -> _Sums:
        memory, size = Buffers(), blocks.fan_in * blocks.padded
        groups = max(1, min(B, -(-_TASKS // blocks.number), _PARTIAL_SUMS // size))
        weight = memory.empty((groups, blocks.number, blocks.fan_in, blocks.width), np.float32)
        return cls(groups, weight, memory.empty((groups, blocks.number, blocks.width), np.float32), memory)

    def gradients(self, blocks: Blocks, c: NeuronConstants) -> Gradients:
        weight = torch.empty(blocks.fan_in, blocks.neurons)
        tasks = -(-blocks.fan_in // backward_loops.ROWS_PER_TASK)
        run(
            backward_loops.collect, self.weight, weight.numpy(),
            before=(blocks.lanes,), tasks=tasks, work=self.weight.size / 4,
        )  # fmt: skip
        bias = torch.from_numpy(self.bias.sum(0).reshape(-1)[: blocks.neurons])
        return Gradients(weight.t(), c.beta_bias * bias)


def constants_array(c: NeuronConstants) -> np.ndarray:
    return np.array([c.alpha_i, c.alpha_v, c.beta_i, c.beta_v], np.float32)

"""The limit: the bytes and operations that a step cannot avoid, over the bandwidth and rates measured in the same run.

Per spiking layer with N neurons, B samples in T steps, and E spikes per sample at its input:

    cells          = T B N
    products       = weights times input spikes; twice in training: forward and weight gradient
    error products = W^T gI at every cell of the layer below (activation channel), and W^T e2 at its spikes (timing
                     channel); in training, not for the first layer
    bytes          = 4 (V_PER_CELL * cells + WEIGHTS_... * weights)
    time           = max(bytes / bandwidth, flops / matrix rate + operations / element-wise rate)

The maximum: a perfect machine moves data while it computes. The two kinds of operations add up: they share the units. A
product with spikes takes the cheaper of two ways: event by event (one addition per synapse that a spike reaches) or
dense (a matrix product over all steps). Hidden spikes are counted at the rate to which all weights are scaled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from snnrun.snn import LayerSpec, parse_layers

from .cases import CLASSES, Case

# Every count with its reason; whoever disputes one changes it here.
V_PER_CELL = 2  # the potential is written in the forward pass and read in the backward pass; spikes follow from it
WEIGHTS_INFERENCE = 1  # read
WEIGHTS_TRAINING = 9  # read forward; gradient written, then read by Adam; weight and Adam's two states read and written
FORWARD_OPS = 8  # two multiply-adds of the decays, one scale, bias, comparison, two resets
SURROGATE_OPS = 14  # |V - 1|, scale, exp as range reduction and a polynomial of degree 5, product with gS
BACKWARD_OPS = 16  # slope, timing term, the sum of both, dep, gI, bias sum; e1 and e2 where a layer lies below
_FLOAT = 4
_COPY_BYTES = 1 << 28  # far beyond any cache
_MATRIX = 1024
_BLOCK = 2048  # 8 KB: stays in the first-level cache
_SWEEPS = 20_000
_MULTIPLY_ADDS = 8  # per element and sweep: enough to hide their latency and the loads


class Rates(NamedTuple):
    """What the machine can do: bytes copied (read + written), matrix and element-wise operations per second."""

    bandwidth: float
    matrix: float
    elements: float


class Cost(NamedTuple):
    """What a step cannot avoid: bytes moved, matrix flops, element-wise operations; ``memory`` in bytes."""

    bytes: float
    flops: float
    operations: float
    memory: float


def measure_rates(seconds: float, device: str) -> Rates:
    """The best of several attempts at each rate, ``seconds`` long each, in float32.

    On a GPU the matrix rate (without tensor cores: the same units) stands for the element-wise one, too.
    """
    source = torch.ones(_COPY_BYTES // _FLOAT, device=device)
    target = torch.empty_like(source)
    size = _MATRIX if device == "cpu" else 8 * _MATRIX
    a = torch.ones(size, size, device=device)
    out = torch.empty_like(a)
    bandwidth = 2 * _COPY_BYTES / _fastest(lambda: target.copy_(source), seconds)
    matrix = 2 * size**3 / _fastest(lambda: torch.mm(a, a, out=out), seconds)
    if device != "cpu":
        return Rates(bandwidth, matrix, matrix)
    threads, sweep = torch.get_num_threads(), _element_kernel()
    operations = 2 * _MULTIPLY_ADDS * _BLOCK * _SWEEPS * threads
    return Rates(bandwidth, matrix, operations / _fastest(lambda: sweep(threads, _SWEEPS), seconds))


def _fastest(function: Callable[[], object], seconds: float) -> float:
    function()
    times: list[float] = []
    while not times or sum(times) < seconds:
        synchronize()
        started = time.perf_counter()
        function()
        synchronize()
        times.append(time.perf_counter() - started)
    return min(times)


def synchronize() -> None:
    """Wait for the GPU, where there is one in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


_compiled: list[Callable[[int, int], float]] = []


def _element_kernel() -> Callable[[int, int], float]:
    """A loop of dependent multiply-adds per element over one cached block per thread; LLVM vectorises it."""
    if _compiled:
        return _compiled[0]
    import numba
    import numpy as np

    @numba.njit(parallel=True, fastmath={"contract"})
    def sweep(threads: int, sweeps: int) -> float:
        total = np.zeros(threads, np.float32)
        a, b = np.float32(0.999), np.float32(0.001)
        for thread in numba.prange(threads):
            block = np.ones(_BLOCK, np.float32)
            for _ in range(sweeps):
                for i in range(_BLOCK):
                    x = block[i]
                    x = x * a + b
                    x = x * a + b
                    x = x * a + b
                    x = x * a + b
                    x = x * a + b
                    x = x * a + b
                    x = x * a + b
                    x = x * a + b
                    block[i] = x
            total[thread] = block.sum()
        return total.sum()

    _compiled.append(sweep)
    return sweep


def cost(case: Case, training: bool, rates: Rates) -> Cost:
    """Bytes and operations of one step; rates decide which way of a product is the cheaper one."""
    moved = flops = operations = memory = 0.0
    events = float(case.events)
    first = True
    for spec in parse_layers(case.layers, case.shape, CLASSES):
        if spec.kind not in ("dense", "conv"):
            continue
        neurons, weights = math.prod(spec.out_shape), _weights(spec)
        cells = case.T * case.batch * neurons
        dense = 2.0 * case.T * case.batch * _synapses(spec)
        sparse = events * case.batch * _fan_out(spec)
        by_events = sparse / rates.elements <= dense / rates.matrix
        products = 2 if training else 1
        operations += products * sparse * by_events + FORWARD_OPS * cells
        flops += products * dense * (not by_events)
        moved += _FLOAT * weights * (WEIGHTS_TRAINING if training else WEIGHTS_INFERENCE)
        memory += _FLOAT * weights * (4 if training else 1)  # with its gradient and Adam's two states
        if training:
            operations += (SURROGATE_OPS + BACKWARD_OPS) * cells + (0 if first else sparse)
            flops += 0 if first else dense
            moved += _FLOAT * V_PER_CELL * cells
            memory += _FLOAT * cells
        events, first = case.rate * neurons, False
    return Cost(moved, flops, operations, memory)


def milliseconds(cost: Cost, rates: Rates) -> tuple[float, float]:
    """Time that the bytes and that the operations need; the limit is the larger one."""
    moving = cost.bytes / rates.bandwidth
    computing = cost.flops / rates.matrix + cost.operations / rates.elements
    return moving * 1e3, computing * 1e3


def best_rates(rounds: list[Rates]) -> Rates:
    """The highest of each: whatever else runs on the machine can only lower a rate."""
    return Rates(*(max(values) for values in zip(*rounds, strict=True)))


def _weights(spec: LayerSpec) -> int:
    return math.prod(spec.in_shape) * spec.out_shape[0] if spec.kind == "dense" else spec.out_shape[0] * _patch(spec)


def _patch(spec: LayerSpec) -> int:
    return spec.in_shape[0] * spec.kernel**2


def _synapses(spec: LayerSpec) -> int:
    """Multiply-adds of one dense application to one step of one sample; borders of convolutions counted as full."""
    return _weights(spec) if spec.kind == "dense" else math.prod(spec.out_shape) * _patch(spec)


def _fan_out(spec: LayerSpec) -> int:
    """Synapses that one input spike reaches."""
    return spec.out_shape[0] * (1 if spec.kind == "dense" else spec.kernel**2)

"""Initial weights: a timing gradient exists only where a neuron spikes, so the start decides whether it ever learns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snnrun.snn.layers import Synapse
from snnrun.snn.network import Network
from snnrun.snn.spikes import Spikes

_WIDEST = 2.0**12  # bisection searches scales from 1/_WIDEST to _WIDEST
_BISECTIONS = 24
_NEARLY = 0.9


@torch.no_grad()
def shift_and_gain(network: Network, gain: float, shift: float) -> None:
    """w <- gain * w + shift on every weight (not on biases)."""
    for synapse in network.synapses:
        synapse.weight.mul_(gain).add_(shift)


@torch.no_grad()
def calibrate(network: Network, spikes: Tensor, rate: float) -> list[float]:
    """Scale each layer, input to output, until its neurons reach a mean rate on one batch.

    Args:
        network: its weights are scaled in place.
        spikes: one batch of input, [T, B, *input shape].
        rate: target, spikes per neuron and sample in the whole window.

    Returns:
        The rate reached by each layer. Where the target is out of reach (inputs that spike once cannot drive a neuron
        twice), nine tenths of what the widest scale gives is the target; a layer that no scale wakes keeps its weights.
    """
    x, reached = Spikes(spikes), []
    for stage in network.stages:
        if isinstance(stage, Synapse):
            x, layer_rate = _scale_layer(network, stage, x, rate)
            reached.append(layer_rate)
        else:
            x = stage(x)
    return reached


def _scale_layer(network: Network, synapse: Synapse, x: Spikes, rate: float) -> tuple[Spikes, float]:
    current, _ = synapse.currents(x)
    bias = synapse.bias_per_neuron()

    def simulate(scale: float) -> Spikes:
        return network.neuron(scale * current, None, bias)

    def rate_of(s: Spikes) -> float:
        return s.s.sum().item() / math.prod(s.s.shape[1:])

    low, high = 1 / _WIDEST, _WIDEST
    most = rate_of(simulate(high))
    if most == 0:
        return simulate(1.0), 0.0
    rate = min(rate, _NEARLY * most)
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)  # scales are compared by ratio
        if rate_of(simulate(middle)) < rate:
            low = middle
        else:
            high = middle
    synapse.weight.mul_(high)
    result = simulate(high)
    return result, rate_of(result)

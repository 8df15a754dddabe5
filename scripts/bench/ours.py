"""snnrun as an implementation: hybrid method, latency loss, Adam, gradients clipped to +-1 as its trainer does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnrun.kernels import NeuronConstants, load, unit_beta
from snnrun.losses import Latency, Loss, Targets
from snnrun.methods import Hybrid, Method
from snnrun.optim import Stored
from snnrun.registry import param
from snnrun.snn import Events, Network, Neuron, parse_layers
from snnrun.step import gradient_step

from .cases import CLASSES, Case

ALPHA = 0.99  # decay of current and potential, in all implementations
LEARNING_RATE, CLIP = 1e-3, 1.0


@dataclass
class Triangle(Method):
    """A user's own method, as in the README: nothing but an element-wise formula."""

    name = "triangle"
    width: float = param(0.5, gt=0)

    def membrane_gradient(self, gs: Tensor, gt: Tensor, v: Tensor, s: Tensor, slope: Tensor) -> Tensor:
        surrogate = (1 - (v - 1).abs() / self.width).clamp(min=0)
        return surrogate * gs - s * gt / slope


METHODS: dict[str, type[Method]] = {"hybrid": Hybrid, "triangle": Triangle}


def make_input(spikes: Tensor, kernel: str) -> Any:
    """The kernel's natural input, from dense spikes [T, batch, *shape]; made once, outside of the timing."""
    if kernel == "cpu":
        return Events.from_dense(spikes)
    return spikes.cuda() if kernel == "cuda" else spikes


def gradient(network: Network, loss: Loss, x: Any, targets: Targets) -> None:
    """Forward, loss and backward."""
    gradient_step(network, loss, x, targets)


def step(
    network: Network, loss: Loss, x: Any, targets: Targets, stored: Stored, optimizer: torch.optim.Optimizer
) -> None:
    """One training step."""
    network.zero_grad()
    gradient(network, loss, x, targets)
    for each in stored.take_gradients():
        each.clamp_(-CLIP, CLIP)
    optimizer.step()


class Ours:
    """One kernel of snnrun."""

    def __init__(self, kernel: str, case: Case, method: str) -> None:
        self.kernel = kernel
        self.device = torch.device("cuda" if kernel == "cuda" else "cpu")
        beta = unit_beta(ALPHA, ALPHA, case.T)
        constants = NeuronConstants(ALPHA, ALPHA, 1.0, beta, beta)
        specs = parse_layers(case.layers, case.shape, CLASSES)
        self.network = Network(specs, Neuron(constants, METHODS[method](), load(kernel))).to(self.device)
        self.loss = Latency()
        self.stored = Stored(self.network)
        self.optimizer = torch.optim.Adam(self.stored.parameters, LEARNING_RATE, fused=True)
        self.module: nn.Module = self.network
        self.weights = [synapse.weight for synapse in self.network.synapses]

    def make_input(self, spikes: Tensor) -> Any:
        return make_input(spikes, self.kernel)

    def layer_spikes(self, x: Any) -> list[Tensor]:
        return [layer.spikes.s for layer in self.network(x).layers]

    def infer(self, x: Any) -> None:
        self.network(x)

    def gradient(self, x: Any, labels: Tensor) -> None:
        self.network.zero_grad()
        gradient(self.network, self.loss, x, Targets(labels))

    def train(self, x: Any, labels: Tensor) -> None:
        step(self.network, self.loss, x, Targets(labels), self.stored, self.optimizer)

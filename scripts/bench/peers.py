"""The peers, each as fast as its users can have it on the same network, input and optimizer.

The synapse runs over all steps at once, then the neuron over time: SpikingJelly's multi-step mode, and in snnTorch and
Norse several times faster than the usual loop over time around the whole network. States start from zero in every call.
They learn by their surrogate gradient from cross-entropy on spike counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnrun.snn import LayerSpec, parse_layers

from .cases import CLASSES, Case
from .ours import ALPHA, CLIP, LEARNING_RATE

PACKAGES = {"spikingjelly": "spikingjelly", "snntorch": "snntorch", "norse": "norse"}
_POOLS: dict[str, Callable[[int], nn.Module]] = {"apool": nn.AvgPool2d, "mpool": nn.MaxPool2d}


def _spikingjelly() -> nn.Module:
    """LIF node in multi-step mode: [T, ...] in one call."""
    activation_based = import_module("spikingjelly.activation_based")
    neuron, surrogate = import_module("spikingjelly.activation_based.neuron"), activation_based.surrogate

    class Node(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = neuron.LIFNode(
                tau=1 / (1 - ALPHA),
                decay_input=False,
                surrogate_function=surrogate.ATan(),
                detach_reset=True,
                step_mode="m",
            )

        def forward(self, current: Tensor) -> Tensor:
            self.node.reset()
            return self.node(current)

    return Node()


def _snntorch() -> nn.Module:
    """Synaptic: a leaky current and a leaky potential, as our neuron has."""
    snntorch = import_module("snntorch")

    class Node(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = snntorch.Synaptic(alpha=ALPHA, beta=ALPHA)

        def forward(self, current: Tensor) -> Tensor:
            synaptic = potential = torch.zeros_like(current[0])
            spikes = []
            for x in current.unbind(0):
                spike, synaptic, potential = self.node(x, synaptic, potential)
                spikes.append(spike)
            return torch.stack(spikes)

    return Node()


def _norse() -> nn.Module:
    """LIFCell over unbound steps; norse's own sequence module indexes them, which makes its backward slower."""
    norse = import_module("norse.torch")

    class Node(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rate = torch.tensor((1 - ALPHA) / 0.001)  # per second, at norse's step of 1 ms
            self.cell = norse.LIFCell(norse.LIFParameters(tau_syn_inv=rate, tau_mem_inv=rate))

        def forward(self, current: Tensor) -> Tensor:
            state, spikes = None, []
            for x in current.unbind(0):
                spike, state = self.cell(x, state)
                spikes.append(spike)
            return torch.stack(spikes)

    return Node()


_NODES = {"spikingjelly": _spikingjelly, "snntorch": _snntorch, "norse": _norse}


class PeerNetwork(nn.Module):
    """The layer list in plain PyTorch modules with a peer's neuron behind every weighted one."""

    def __init__(self, case: Case, node: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.spiking: list[int] = []
        for spec in parse_layers(case.layers, case.shape, CLASSES):
            self.stages.append(_stage(spec))
            if spec.kind in ("dense", "conv"):
                self.spiking.append(len(self.stages))
                self.stages.append(node())

    def forward(self, x: Tensor) -> list[Tensor]:
        """Spikes of every spiking layer, [T, batch, ...] each."""
        steps, spikes = x.shape[:2], []
        for index, stage in enumerate(self.stages):
            if index in self.spiking:
                x = stage(x)
                spikes.append(x)
            else:
                x = stage(x.flatten(0, 1)).unflatten(0, steps)
        return spikes


def _stage(spec: LayerSpec) -> nn.Module:
    if spec.kind not in ("dense", "conv"):
        return nn.Flatten() if spec.kind == "flatten" else _POOLS[spec.kind](spec.kernel)
    if spec.kind == "dense":
        synapse: nn.Linear | nn.Conv2d = nn.Linear(math.prod(spec.in_shape), *spec.out_shape)
    else:
        synapse = nn.Conv2d(spec.in_shape[0], spec.out_shape[0], spec.kernel, padding="same")
    nn.init.zeros_(synapse.bias)  # as ours; a constant current would make neurons fire without input
    return synapse


class Peer:
    """One peer."""

    def __init__(self, name: str, case: Case, device: str) -> None:
        self.device = torch.device(device)
        self.module = PeerNetwork(case, _NODES[name]).to(self.device)
        self.optimizer = torch.optim.Adam(self.module.parameters(), LEARNING_RATE, fused=True)
        self.weights = [self.module.stages[index - 1].weight for index in self.module.spiking]

    def make_input(self, spikes: Tensor) -> Any:
        return spikes.to(self.device)

    def layer_spikes(self, x: Tensor) -> list[Tensor]:
        return self.module(x)

    def infer(self, x: Tensor) -> None:
        self.module(x)

    def gradient(self, x: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.module(x)[-1].sum(0), labels).backward()

    def train(self, x: Tensor, labels: Tensor) -> None:
        self.gradient(x, labels)
        nn.utils.clip_grad_value_(self.module.parameters(), CLIP)
        self.optimizer.step()

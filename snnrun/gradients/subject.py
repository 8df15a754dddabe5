"""One network at one place in weight space, with one batch: its loss after a change, and each method's gradient."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from snnrun.data import Batch
from snnrun.losses import Loss, Targets
from snnrun.snn import Dense, Events, Network, Spikes, Trace
from snnrun.step import gradient_step, loss_of


def exact_loss(trace: Trace, loss: Loss, targets: Targets) -> float:
    """The trainer's loss of a batch (:func:`snnrun.step.loss_of`), summed up in double precision.

    Spikes are 0 or 1, so that nothing is lost: two passes with equal spikes differ by exactly 0.
    """
    hidden = [layer.total.double() for layer in trace.hidden]
    value = loss(Spikes(trace.output.s.double()), targets) + loss.rate_penalty(hidden, trace.output.s.shape[1])
    return float(value)


class Subject:
    """A network, the same for each method, and a batch.

    Args:
        networks: by method; equal weights.

    Attributes:
        weights: of all layers, flattened, float64 [N] (each value one of float32). Biases are not changed here.
        layers: where each weighted layer lies in them.
    """

    def __init__(self, networks: Mapping[str, Network], loss: Loss, batch: Batch) -> None:
        self.networks, self.loss, self.batch = networks, loss, batch
        self.network = next(iter(networks.values()))
        self.weights = _flat([synapse.weight for synapse in self.network.synapses])
        self.layers: list[slice] = []
        for synapse in self.network.synapses:
            start = self.layers[-1].stop if self.layers else 0
            self.layers.append(slice(start, start + synapse.weight.numel()))
        self.loss_here = self.loss_at(self.weights)

    @property
    def layer_names(self) -> list[str]:
        """As in metrics: layer0, layer1 ..., input to output."""
        return [f"layer{index}" for index in range(len(self.layers))]

    @torch.no_grad()
    def loss_at(self, weights: np.ndarray) -> float:
        """Mean loss of the batch at other weights, [N], which are rounded to float32."""
        self._put(self.network, weights)
        return exact_loss(self.network(self.batch.spikes), self.loss, self.batch.targets)

    def gradient(self, method: str, with_hook: bool = False) -> np.ndarray:
        """A method's gradient of the mean loss with respect to the weights, float64 [N], not clipped.

        Args:
            with_hook: as the trainer sees it, with what the method adds to weight gradients (the no-spike remedy of the
                timing method), which is no derivative of the loss.
        """
        network = self.networks[method]
        self._put(network, self.weights)
        network.zero_grad()
        if with_hook:
            gradient_step(network, self.loss, *self.batch)
        else:
            loss_of(network(self.batch.spikes), self.loss, self.batch.targets).backward()
        weights = [synapse.weight for synapse in network.synapses]
        found = _flat([torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights])
        network.zero_grad()
        return found

    @torch.no_grad()
    def spikes(self, weights: np.ndarray) -> list[float]:
        """Spikes per neuron and sample in each layer, at these weights."""
        self._put(self.network, weights)
        return [float(layer.counts().double().mean()) for layer in self.network(self.batch.spikes).layers]

    @torch.no_grad()
    def reached(self, layer: int) -> np.ndarray:
        """Indices of a layer's weights whose input spikes somewhere in the batch: a change of the others does nothing.

        Of convolutions, and behind pooling, all weights.
        """
        synapse, where = self.network.synapses[layer], self.layers[layer]
        everything = np.arange(where.start, where.stop)
        if layer:
            self._put(self.network, self.weights)
            fired = self.network(self.batch.spikes).layers[layer - 1].counts().sum(0).flatten() > 0
        else:
            spikes = self.batch.spikes
            fired = (spikes.dense() if isinstance(spikes, Events) else spikes).flatten(2).sum((0, 1)) > 0
        if not isinstance(synapse, Dense) or len(fired) != synapse.fan_in:
            return everything
        return everything.reshape(tuple(synapse.weight.shape))[:, fired.numpy()].reshape(-1)

    @torch.no_grad()
    def _put(self, network: Network, weights: np.ndarray) -> None:
        for synapse, where in zip(network.synapses, self.layers, strict=True):
            new = torch.from_numpy(weights[where].astype(np.float32)).view(tuple(synapse.weight.shape))
            synapse.weight.copy_(new)


def _flat(tensors: list[torch.Tensor]) -> np.ndarray:
    return np.concatenate([tensor.detach().double().numpy().reshape(-1) for tensor in tensors])

"""The loss over the two weights of a neuron made by hand, and the gradient of each method at points of that plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from snnrun import kernels
from snnrun.data import Batch
from snnrun.gradients.subject import Subject, exact_loss
from snnrun.losses import Loss, SpikeTrain, Targets
from snnrun.methods import Method
from snnrun.snn import Events, Network
from snnrun.snn.models import Model

_STEPS = 200
_INPUTS = ((10, 40, 100), (20, 70, 120))  # steps at which the two inputs spike
_TARGET = (60, 140)  # steps at which the neuron should
_DECAY = 0.97  # of current and potential, per step
_LOW, _HIGH = -0.4, 1.2  # both weights


class Ways(NamedTuple):
    """Where steps against a gradient lead, as shares of all points: what the loss does when it changes first.

    ``nowhere``: no gradient, or no change before the edge.
    """

    down: float
    up: float
    nowhere: float


class Landscape(NamedTuple):
    """The loss over the plane of two weights.

    Attributes:
        weights: values of either weight, fine grid [n].
        loss, spikes: of the neuron, [n, n] (second weight first).
        at: values at which gradients are taken, coarse grid [k].
        fields: by method, the gradient at these points, [k, k, 2] (d/d first weight, d/d second weight).
        real: what the loss does: central differences over the spacing of these points, [k, k, 2].
        ways: by method.
    """

    weights: np.ndarray
    loss: np.ndarray
    spikes: np.ndarray
    at: np.ndarray
    fields: dict[str, np.ndarray]
    real: np.ndarray
    ways: dict[str, Ways]


class _Neuron(Subject):
    """Many weights give the same spikes: their loss is computed once."""

    def __init__(self, networks: Mapping[str, Network], loss: Loss, batch: Batch) -> None:
        self._known: dict[bytes, float] = {}
        super().__init__(networks, loss, batch)

    @torch.no_grad()
    def loss_at(self, weights: np.ndarray) -> float:
        return self.look(weights)[0]

    @torch.no_grad()
    def look(self, weights: np.ndarray) -> tuple[float, float]:
        """Loss and output spikes at these weights."""
        self._put(self.network, weights)
        trace = self.network(self.batch.spikes)
        key = trace.output.s.numpy().tobytes()
        if key not in self._known:
            self._known[key] = exact_loss(trace, self.loss, self.batch.targets)
        return self._known[key], float(trace.output.s.sum())


def neuron(methods: Mapping[str, Method], weights: tuple[float, float] = (0.0, 0.0)) -> Subject:
    """One neuron with two inputs that should spike at steps 60 and 140 of 200 (loss: spike_train)."""
    model = Model(layers="out", alpha_i=_DECAY, alpha_v=_DECAY)
    networks = {name: model.build((2,), 1, _STEPS, method, kernels.load("cpu")) for name, method in methods.items()}
    with torch.no_grad():
        for network in networks.values():
            network.synapses[0].weight.copy_(torch.tensor([weights]))
    spikes, target = torch.zeros(_STEPS, 1, 2), torch.zeros(_STEPS, 1, 1)
    for index, steps in enumerate(_INPUTS):
        spikes[list(steps), 0, index] = 1
    target[list(_TARGET)] = 1
    return _Neuron(networks, SpikeTrain(), Batch(Events.from_dense(spikes), Targets(train=target)))


def landscape(methods: Mapping[str, Method], points: int = 101, arrows: int = 15) -> Landscape:
    """Loss on ``points`` x ``points`` weights, gradients on ``arrows`` x ``arrows``."""
    subject = neuron(methods)
    assert isinstance(subject, _Neuron)
    weights = np.linspace(_LOW, _HIGH, points)
    loss, spikes = np.zeros((points, points)), np.zeros((points, points))
    for j, i in np.ndindex(points, points):
        loss[j, i], spikes[j, i] = subject.look(np.array([weights[i], weights[j]]))
    half = (_HIGH - _LOW) / arrows / 2
    at = np.linspace(_LOW + half, _HIGH - half, arrows)
    fields = {name: np.zeros((arrows, arrows, 2)) for name in methods}
    real = np.zeros((arrows, arrows, 2))
    for j, i in np.ndindex(arrows, arrows):
        here = np.array([at[i], at[j]], dtype=np.float32).astype(np.float64)
        subject.weights = here
        for name in methods:
            fields[name][j, i] = subject.gradient(name)
        for axis in (0, 1):
            step = np.eye(2)[axis] * half
            real[j, i, axis] = (subject.loss_at(here + step) - subject.loss_at(here - step)) / (2 * half)
    ways = {name: ways_down(weights, loss, at, field) for name, field in fields.items()}
    return Landscape(weights, loss, spikes, at, fields, real, ways)


def ways_down(weights: np.ndarray, loss: np.ndarray, at: np.ndarray, field: np.ndarray) -> Ways:
    """Follow each straight line against the gradient until the loss on the fine grid changes: down or up?

    The loss is piecewise constant, so that its slope at a point is 0 nearly everywhere; this is what a small enough
    step that does anything at all would meet.
    """
    spacing = weights[1] - weights[0]

    def loss_near(place: np.ndarray) -> float | None:
        index = np.rint((place - weights[0]) / spacing).astype(int)
        inside = (index >= 0).all() and (index < len(weights)).all()
        return float(loss[index[1], index[0]]) if inside else None

    down = up = 0
    for j, i in np.ndindex(len(at), len(at)):
        here, length = np.array([at[i], at[j]]), float(np.linalg.norm(field[j, i]))
        before = found = loss_near(here)
        distance = 0.0
        while length and found is not None and found == before:
            distance += spacing / 2
            found = loss_near(here - distance * field[j, i] / length)
        if length and found is not None and before is not None:
            down, up = down + (found < before), up + (found > before)
    total = len(at) ** 2
    return Ways(down / total, up / total, 1 - (down + up) / total)

"""Random input trains to be turned into random target trains (first experiment of Kim, Kim & Kim 2020), generated."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch

from snnrun.data.dataset import Data, Dataset, Split
from snnrun.data.report import Reporter
from snnrun.errors import UserError
from snnrun.losses import Targets
from snnrun.registry import param, register
from snnrun.snn import Events


@dataclass
class TrainPairs:
    """Pairs of spike trains.

    Attributes:
        inputs, trains: bool [n, T, inputs] and [n, T, outputs].
    """

    inputs: np.ndarray
    trains: np.ndarray

    labels: None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def spikes(self, indices: np.ndarray) -> Events:
        """Input spikes of the samples."""
        inputs = self.inputs[indices]
        return Events.from_keys(np.flatnonzero(inputs), inputs.shape[1], len(indices), inputs.shape[2:])

    def targets(self, indices: np.ndarray) -> Targets:
        """Target trains of the samples, float32 [T, len(indices), outputs]."""
        return Targets(train=torch.from_numpy(self.trains[indices].swapaxes(0, 1).astype(np.float32)))

    def fingerprint(self) -> str:
        """Hash of all trains."""
        digest = hashlib.sha256(np.packbits(self.inputs).data)
        digest.update(np.packbits(self.trains).data)
        return digest.hexdigest()


@register("dataset", "spike_trains")
@dataclass
class SpikeTrains(Dataset):
    """Pairs of an input and a target, both fixed random trains: each neuron spikes in each step with one probability.

    There is nothing to generalise to, so validation and test hold the pairs that are trained on: they measure how
    closely the targets are met. For the same reason ``val_share`` cannot be set.

    Attributes:
        samples: number of pairs.
        repeats: how often an epoch shows each of them.
        inputs, outputs: neurons that give the input, and that are given a target.
        density: spikes per neuron and step, of inputs and of targets.
        input_density, target_density: the same for one side; None: ``density``.
        draw_seed: the trains are drawn with it, not with the run's seed; so seeds repeat one task.
    """

    preferred_loss = "spike_train"
    # a train that should be silent is no neuron to be woken: with 100 the remedy drowns the gradient
    method_options = MappingProxyType({"timing": {"penalty": 0.1}})
    has_labels = False
    has_validation = True

    T: int = param(100, ge=1)
    val_share: float | None = None
    samples: int = param(1, ge=1)
    repeats: int = param(20, ge=1)
    inputs: int = param(100, ge=1)
    outputs: int = param(10, ge=1)
    density: float = param(0.02, gt=0, lt=1)
    input_density: float | None = param(None, gt=0, lt=1)
    target_density: float | None = param(None, gt=0, lt=1)
    draw_seed: int = param(0, ge=0)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.inputs,)

    def check(self) -> None:
        super().check()
        if self.val_share is not None:
            raise UserError(
                f"dataset.val_share is {self.val_share:g}, but all of spike_trains is trained on and validated on",
                "Leave it out",
            )

    def load(self, seed: int, report: Reporter) -> Data:
        rng = np.random.default_rng(self.draw_seed)
        sides = ((self.inputs, self.input_density), (self.outputs, self.target_density))
        inputs, targets = (
            rng.random((self.samples, self.T, neurons)) < (self.density if density is None else density)
            for neurons, density in sides
        )
        pairs = TrainPairs(inputs, targets)
        shown = self._part(pairs, np.arange(self.samples), self.limit_train)
        data = self._data(shown, shown, shown)
        return replace(data, train=Split(data.train.source, np.tile(data.train.indices, self.repeats)))

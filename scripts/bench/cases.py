"""What is timed: network, window, batch and input spikes, the same for every implementation."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnrun import registry
from snnrun.data.report import Quiet
from snnrun.errors import UserError

CLASSES = 10
_T_LAST = 24  # last input step of latency-coded images


@dataclass(frozen=True)
class Case:
    """One shape to time.

    Attributes:
        name: of the rows that it leaves.
        layers: layer list as in model.layers.
        shape: of one step of one sample.
        events: input spikes per sample.
        rate: spikes per hidden neuron and sample to which every implementation's weights are scaled. PyTorch's default
            initialisation is silent here, and a silent network would make event-driven code look too good.
        coding: "latency" (every active input spikes once, early) or "events" (spread over the window).
        data: folder with real data, or "" for spikes drawn with the same statistics.
    """

    name: str
    layers: str
    shape: tuple[int, ...]
    T: int
    batch: int
    events: int
    rate: float
    coding: str
    data: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Case:
        return cls(**fields | {"shape": tuple(fields["shape"])})


_DENSE = "fc800-fc10"
_CONV = "conv12c5-apool2-conv64c5-apool2-fc10"

# MNIST: 100 to 150 lit pixels. N-MNIST: 4,100 events in 300 ms; 1,400 in its first 100. Half a spike per hidden neuron
# (400 a sample) and one (800) lie in the range that trained networks of this size show: 150 to 900.
CASES: dict[str, tuple[Case, ...]] = {
    "mnist": tuple(Case("mnist", _DENSE, (784,), 300, batch, 125, 0.5, "latency") for batch in (16, 128)),
    "nmnist": tuple(Case("nmnist", _DENSE, (2312,), 300, batch, 4100, 1.0, "events") for batch in (16, 64)),
    "conv": (Case("conv", _CONV, (2, 34, 34), 100, 16, 1400, 0.25, "events"),),
    "tiny": (Case("tiny", "fc24-fc10", (40,), 30, 4, 20, 0.5, "latency"),),  # for the script's own test
}


def larger(case: Case) -> list[tuple[Case, str, float]]:
    """Larger forms of a case: (case, what grew, largest ratio of their times). Cost follows spikes, not inputs.

    Twice the inputs with the same number of events, twice the steps with the same input, twice the batch.
    """
    inputs = case.shape[0]
    grown = [(replace(case, name=f"{case.name}-in{2 * inputs}", shape=(2 * inputs,)), "inputs x2", 1.10)]
    if case.coding == "latency":
        grown.append((replace(case, name=f"{case.name}-T{2 * case.T}", T=2 * case.T), "steps x2", 2.2))
        grown.append((replace(case, name=f"{case.name}-b{2 * case.batch}", batch=2 * case.batch), "batch x2", 2.1))
    return grown


def make_spikes(case: Case) -> tuple[Tensor, Tensor]:
    """Input spikes, float32 0 or 1 [T, batch, *shape], and labels, int64 [batch]; the same in every process.

    Raises:
        UserError: the data at ``case.data`` cannot be used.
    """
    return _real_spikes(case) if case.data else _drawn_spikes(case)


def _drawn_spikes(case: Case) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(0)
    inputs = math.prod(case.shape)
    spikes = np.zeros((case.T, case.batch, inputs), dtype=np.float32)
    for sample in range(case.batch):
        if case.coding == "latency":
            active = draw.permutation(inputs)[: draw.poisson(case.events)]
            # half of MNIST's lit pixels are nearly white and spike at once, the others are evenly grey
            grey = draw.integers(0, min(_T_LAST, case.T - 1) + 1, len(active))
            step = np.where(draw.random(len(active)) < 0.5, 0, grey)
        else:
            flat = draw.choice(case.T * inputs, case.events, replace=False)
            step, active = flat // inputs, flat % inputs
        spikes[step, sample, active] = 1
    labels = torch.from_numpy(draw.integers(0, CLASSES, case.batch))
    return torch.from_numpy(spikes).view(case.T, case.batch, *case.shape), labels


def _real_spikes(case: Case) -> tuple[Tensor, Tensor]:
    if case.coding == "latency":
        dataset = registry.component("dataset", "mnist")(root=case.data, T=case.T, t_last=_T_LAST)
    else:  # one step is 1 ms
        dataset = registry.component("dataset", "nmnist")(root=case.data, T=case.T, window_ms=float(case.T))
    source, _ = dataset.sources(0, Quiet())
    if math.prod(dataset.shape) != math.prod(case.shape):
        raise UserError(f"--data: {case.name} needs inputs that no data set has", "Leave --data out")
    if case.batch > len(source):
        raise UserError(f"--batch {case.batch} is more than the {len(source)} samples at {case.data}")
    indices = np.random.default_rng(0).choice(len(source), case.batch, replace=False)
    labels = source.targets(indices).label
    return source.spikes(indices).dense().view(case.T, case.batch, *case.shape), labels

"""Where a training run is: position, running totals of the epoch, the best so far, and the rows measured."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from snnrun.metrics import layer_names
from snnrun.observers.base import Row


class Stopwatch:
    """Cuts time into laps."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """What went by since the last lap counts nowhere."""
        self.last = self.started = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self.last = self.last, time.perf_counter()
        return self.last - before


@dataclass
class TrainState:
    """Everything that the training loop adds up; a checkpoint holds all of it, and the loop nothing beside it.

    Attributes:
        epoch: the one that is trained or validated, from 1; the last one that was, between two epochs. Seed and epoch
            decide the order of the samples.
        batches: of this epoch that are trained. With all of them trained, the epoch is being validated; validation
            depends on nothing but the weights, and is started anew after an interruption.
        step: optimizer steps of the whole run.
        lr: learning rate at the start of the epoch.
        samples, totals, norms: of this epoch: samples trained; sums over them; gradient norm of each layer, summed over
            steps, float64.
        best, best_epoch: validation metrics of the best epoch; 0: none yet. Early stopping counts from it.
        rows: of metrics.jsonl, one for each epoch that is trained and validated.
        train_s, epoch_train_s, epoch_s: seconds of training, of this epoch's training, and of this epoch with its
            validation. Time between an interruption and going on is in none of them.
    """

    epoch: int = 0
    batches: int = 0
    step: int = 0
    lr: float = 0.0
    samples: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    norms: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    best: Row = field(default_factory=dict)
    best_epoch: int = 0
    rows: list[Row] = field(default_factory=list)
    train_s: float = 0.0
    epoch_train_s: float = 0.0
    epoch_s: float = 0.0

    @property
    def between_epochs(self) -> bool:
        """Whether the current epoch is trained, validated and written down."""
        return len(self.rows) == self.epoch

    def begin_epoch(self, lr: float, layers: int, device: torch.device) -> None:
        """Turn to the next epoch, with empty totals."""
        self.epoch += 1
        self.lr = lr
        self.batches = self.samples = 0
        self.totals = {"loss": 0.0, "acc": 0.0, "spikes": 0.0}
        self.norms = torch.zeros(layers, dtype=torch.float64, device=device)
        self.epoch_train_s = self.epoch_s = 0.0

    def add(self, size: int, norms: Tensor, sums: Mapping[str, float]) -> None:
        """One optimizer step on ``size`` samples is done."""
        self.step += 1
        self.batches += 1
        self.samples += size
        self.norms += norms
        for key, value in sums.items():
            self.totals[key] += value

    def spend(self, seconds: float) -> None:
        """Count time of training."""
        self.train_s += seconds
        self.epoch_train_s += seconds
        self.epoch_s += seconds

    def mean(self, key: str) -> float:
        """Mean over the samples of this epoch so far."""
        return self.totals[key] / self.samples

    def train_metrics(self, labelled: bool) -> dict[str, float | None]:
        """The training part of a row: means over the epoch."""
        means: dict[str, float | None] = {f"train/{key}": self.mean(key) for key in self.totals}
        if not labelled:
            means["train/acc"] = None
        norms = (self.norms / self.batches).tolist()
        return means | {f"grad_norm/{name}": norm for name, norm in zip(layer_names(len(norms)), norms, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Plain data and tensors that :meth:`from_dict` turns into an equal state."""
        plain = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return plain | {"best": dict(self.best), "rows": [dict(row) for row in self.rows], "totals": dict(self.totals)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], device: torch.device) -> TrainState:
        """The state in a checkpoint.

        Raises:
            TypeError, ValueError: it is none.
        """
        fresh = cls()
        for each in dataclasses.fields(cls):
            wanted = (int, float) if each.type == "float" else type(getattr(fresh, each.name))
            if not isinstance(stored.get(each.name), wanted):
                raise TypeError(f"{each.name} is missing or of a wrong type")
        state = cls(**{each.name: stored[each.name] for each in dataclasses.fields(cls)})
        agree = len(state.rows) in (state.epoch, state.epoch - 1)
        if not agree or not all(isinstance(row, Mapping) for row in state.rows):
            raise ValueError("rows and epoch do not agree")
        state.norms = state.norms.to(device)
        return state

"""What a run tells, and to whom: four events, seen by observers that never change the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

Row = Mapping[str, float | int | None]  # one row of metrics.jsonl


class LayerInfo(NamedTuple):
    """One stage of the network for display."""

    token: str
    out_shape: tuple[int, ...]
    params: int
    rate: float | None = None  # spikes per neuron and sample on the first batch; None: no neurons
    silent: float | None = None  # share of neurons without a spike on the first batch


@dataclass(frozen=True)
class RunInfo:
    """Everything fixed before the first step.

    Attributes:
        config: the resolved config as plain dicts and lists.
        loss_why: how ``loss=auto`` came to its choice, or "".
        group: name under which runs are compared (sweep folder or experiment name).
        data: n_train, n_val, n_test, split_seed, hash.
        steps: optimizer steps of the whole run.
        threads: of each of so many processes.
        run_id: the same before and after an interruption; W&B's id of the run.
        resumed_at: step at which the run goes on after an interruption; None: it begins.
        past: rows that were told before the interruption, and are not told again.
        cut_off: whether the process before was killed, and could not close what it wrote.
    """

    run_dir: Path
    config: Mapping[str, Any]
    mode: str
    method: str
    loss: str
    loss_why: str
    model: str
    dataset: str
    group: str
    T: int
    seed: int
    epochs: int
    steps: int
    data: Mapping[str, Any]
    layers: Sequence[LayerInfo]
    params: int
    kernel: str
    device: str
    threads: int
    processes: int = 1
    input_shape: tuple[int, ...] = ()
    monitor: str = "val/acc"
    run_id: str | None = None
    resumed_at: int | None = None
    past: Sequence[Row] = ()
    cut_off: bool = False


class Progress(NamedTuple):
    """State after one training step; ``acc``, ``loss`` and ``spikes`` are means over the epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    acc: float | None
    spikes: float
    samples_per_s: float


class Raster(NamedTuple):
    """Spikes of one sample: name and bool [T, neurons] per layer, input first.

    Attributes:
        target: bool [T, output neurons] on data with target trains, where there is nothing to decide.
    """

    layers: Sequence[tuple[str, np.ndarray]]
    label: int | None
    prediction: int  # -1: no output spike
    decision_step: int
    target: np.ndarray | None = None


@dataclass(frozen=True)
class Evidence:
    """What the test left for plots and files.

    Attributes:
        curve: content of test_curve.json.
        confusion: counts [true class, predicted class], last column "undecided"; None without labels.
        raster: one test sample.
    """

    curve: Mapping[str, Any]
    confusion: np.ndarray | None
    raster: Raster


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        summary: content of summary.json.
        rows: all rows of metrics.jsonl, in order.
        evidence: None where the run did not reach the test.
        plots: files that were drawn, by name.
        closing: lines that observers want shown last, such as where the W&B run is.
    """

    summary: Mapping[str, Any]
    rows: Sequence[Row]
    evidence: Evidence | None
    plots: dict[str, Path] = field(default_factory=dict)
    closing: list[str] = field(default_factory=list)


class Observer(Protocol):
    """Sees a run. Called in the order start, (step ..., row) ..., finish."""

    def start(self, run: RunInfo) -> None:
        """The run is built and about to begin."""

    def step(self, progress: Progress) -> None:
        """One optimizer step is done."""

    def row(self, row: Row) -> None:
        """An epoch, or the final test, is measured; ``row`` is what metrics.jsonl holds."""

    def finish(self, outcome: Outcome) -> None:
        """The run ended: finished, interrupted or failed (``outcome.summary["status"]``)."""

"""The trials of a search, as its folder has them, and the table to keep of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from snnrun import atomic
from snnrun.metrics import higher_is_better
from snnrun.rundir import read_summary, status
from snnrun.search import SPIKES
from snnrun.tabular import csv_text


class Trial(NamedTuple):
    """A job of a search.

    Attributes:
        job: the name of its folder.
        status: as :func:`snnrun.rundir.status` says.
        value: the monitored metric on validation; None where the job did not get there, as the next two.
        spikes: per sample, on validation.
        train_s: seconds of training.
        overrides: that it was started with.
    """

    job: str
    status: str
    value: float | None
    spikes: float | None
    train_s: float | None
    overrides: Sequence[str]


def read_trials(folder: Path, monitor: str) -> list[Trial]:
    """All trials in a search's folder, best first, those without a value last; with those of earlier calls."""
    trials = []
    for path in folder.glob("*/.hydra/overrides.yaml"):
        job = path.parent.parent
        summary = read_summary(job)
        val, time = summary.get("val") or {}, summary.get("time") or {}
        value, spikes = val.get(monitor.removeprefix("val/")), val.get("spikes")
        trials.append(
            Trial(job.name, status(job), value, spikes, time.get("train_s"), yaml.safe_load(path.read_text()))
        )
    sign = -1 if higher_is_better(monitor) else 1
    return sorted(trials, key=lambda trial: (trial.value is None, sign * (trial.value or 0), trial.job))


def write_record(folder: Path, trials: Sequence[Trial], overrides: Sequence[str], monitor: str) -> Path:
    """Write ``trials.csv``: job, status, the monitored metric, spikes, seconds of training, then what was searched.

    Args:
        overrides: of the search's own command line, which all trials share.
    """
    rows = []
    for trial in trials:
        own = [
            text.partition("=") for text in trial.overrides if text not in overrides and not text.startswith("hydra")
        ]
        told = {"job": trial.job, "status": trial.status, monitor: trial.value, SPIKES: trial.spikes}
        rows.append({**told, "train_s": trial.train_s, **{key.lstrip("+"): value for key, _, value in own}})
    path = folder / "trials.csv"
    atomic.write(path, csv_text(rows).encode())
    return path

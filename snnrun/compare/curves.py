"""Curves of runs (metrics.jsonl, test_curve.json), and their mean and deviation over the runs of a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from snnrun.compare.reading import Damaged, number, read_json, read_rows
from snnrun.compare.runs import Run

Curves = dict[str, np.ndarray]  # equally long columns; NaN where there is no number


class Band(NamedTuple):
    """Mean and sample deviation over runs, as far as all of them go; ``sd`` is None for one run."""

    x: np.ndarray
    mean: np.ndarray
    sd: np.ndarray | None
    is_cut: bool


def learning(run: Run) -> Curves:
    """Validation over epochs: ``epoch``, ``acc``, ``loss``, ``spikes``.

    Raises:
        Damaged: metrics.jsonl is missing or no such file.
    """
    rows = [row for row in read_rows(run.folder / "metrics.jsonl") if number(row.get("val/loss")) is not None]
    if not rows:
        raise Damaged("metrics.jsonl holds no validation")
    keys = {"epoch": "epoch", "acc": "val/acc", "loss": "val/loss", "spikes": "val/spikes"}
    return {name: _column(row.get(key) for row in rows) for name, key in keys.items()}


def anytime(run: Run) -> Curves:
    """Test over time steps: ``step``, ``acc`` if stopped there, ``spikes`` so far, ``decided``.

    Raises:
        Damaged: test_curve.json is missing or no such file.
    """
    content = read_json(run.folder / "test_curve.json")
    steps, acc = content.get("step"), content.get("acc")
    if not isinstance(steps, list) or not steps:
        raise Damaged("test_curve.json holds no steps")
    curves: dict[str, Any] = {key: content.get(key) for key in ("step", "spikes", "decided")}
    curves["acc"] = acc if isinstance(acc, list) else [None] * len(steps)
    for key, values in curves.items():
        if not isinstance(values, list) or len(values) != len(steps):
            raise Damaged(f"test_curve.json: {key} does not have a value for every step")
    return {key: _column(values) for key, values in curves.items()}


def collect(runs: Iterable[Run], read: Callable[[Run], Curves], damaged: list[str]) -> list[Curves]:
    """Curves of every run that has them; the others are named in ``damaged``."""
    curves = []
    for run in runs:
        try:
            curves.append(read(run))
        except Damaged as damage:
            damaged.append(f"{run.name}: {damage}")
    return curves


def band(curves: Sequence[Curves], x: str, y: str) -> Band | None:
    """Mean over runs at every x that all of them have; None where there is nothing to draw."""
    own = [curve for curve in curves if np.isfinite(curve[y]).any()]
    if not own:
        return None
    length = min(len(curve[x]) for curve in own)
    ys = np.stack([curve[y][:length] for curve in own])
    xs = np.stack([curve[x][:length] for curve in own])
    sd = ys.std(0, ddof=1) if len(own) > 1 else None
    return Band(xs.mean(0), ys.mean(0), sd, any(len(curve[x]) > length for curve in own))


def _column(values: Iterable[Any]) -> np.ndarray:
    numbers = (number(value) for value in values)
    return np.array([np.nan if value is None else value for value in numbers], dtype=float)

"""Plots of a run, readable without explanation: learning curves, accuracy against spikes, raster, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snnrun.data import Reporter
from snnrun.observers.base import Outcome, Progress, Raster, Row, RunInfo

# Okabe & Ito's palette: told apart by the colour-blind and in grey print
BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
_DPI = 150
_MOST_ROWS = 200  # neurons of a raster panel; more than the pixels of a panel cannot be told apart


class PlotsObserver:
    """Draws what the run measured into ``plots/``; a plot that fails costs a note, never the run."""

    def __init__(self, report: Reporter) -> None:
        self.report = report

    def start(self, run: RunInfo) -> None:
        self.run = run

    def step(self, progress: Progress) -> None:
        pass

    def row(self, row: Row) -> None:
        pass

    def finish(self, outcome: Outcome) -> None:
        epochs = [row for row in outcome.rows if "train/loss" in row]
        try:
            if epochs:
                self._save(learning_curves(epochs, self._title()), "learning_curves")
            if epochs and self._labelled(epochs):
                test = outcome.summary.get("test") or {}
                self._save(accuracy_spikes(epochs, test, self._title()), "accuracy_spikes")
            if outcome.evidence is not None:
                self._save(raster(outcome.evidence.raster, self._title()), "raster")
                if outcome.evidence.confusion is not None:
                    self._save(confusion(outcome.evidence.confusion, self._title()), "confusion")
        except (OSError, ValueError, RuntimeError) as error:
            self.report.note(f"a plot could not be drawn ({error})")

    def _labelled(self, epochs: Sequence[Row]) -> bool:
        return epochs[-1].get("val/acc") is not None

    def _title(self) -> str:
        run = self.run
        return f"{run.method} gradient, {run.loss} loss, {run.dataset}, seed {run.seed}"

    def _save(self, figure: Any, name: str) -> None:
        folder = Path(self.run.run_dir) / "plots"
        folder.mkdir(exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=_DPI)


def learning_curves(epochs: Sequence[Row], title: str) -> Any:
    """Loss, accuracy and spikes over epochs; a panel each."""
    panels = [("loss", "loss", 1.0), ("acc", "accuracy (%)", 100.0), ("spikes", "spikes per sample", 1.0)]
    panels = [panel for panel in panels if epochs[-1].get(f"val/{panel[0]}") is not None]
    figure = _figure(4.0 * len(panels), 3.4, title)
    x = _column(epochs, "epoch")
    for axes, (key, label, scale) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for part, color, style in (("train", ORANGE, "--"), ("val", BLUE, "-")):
            name = {"train": "training", "val": "validation"}[part]
            y = scale * _column(epochs, f"{part}/{key}")
            axes.plot(x, y, style, color=color, label=name, marker="o" if len(x) < 2 else None, markersize=4)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def accuracy_spikes(epochs: Sequence[Row], test: dict[str, Any], title: str) -> Any:
    """Validation accuracy against spikes per sample, coloured by epoch, with the test result."""
    figure = _figure(6.0, 4.2, title)
    axes = figure.subplots()
    x, y = _column(epochs, "val/spikes"), 100 * _column(epochs, "val/acc")
    axes.plot(x, y, color="0.75", linewidth=1, zorder=1)
    points = axes.scatter(
        x, y, c=_column(epochs, "epoch"), cmap="cividis", s=36, zorder=2, label="validation, by epoch"
    )
    if test.get("acc") is not None:
        axes.scatter(
            [test["spikes"]], [100 * test["acc"]], marker="*", s=240, color=ORANGE, edgecolor=BLACK, zorder=3,
            label=f"test of the best epoch: {100 * test['acc']:.1f} %, {test['spikes']:.0f} spikes",
        )  # fmt: skip
    axes.set_xlabel("spikes per sample, all layers, whole window")
    axes.set_ylabel("accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="best", fontsize=9)
    bar = figure.colorbar(points, ax=axes, label="epoch")
    bar.locator.set_params(integer=True) if hasattr(bar.locator, "set_params") else None
    return figure


def raster(sample: Raster, title: str) -> Any:
    """Spikes of one test sample, a panel per layer, input at the bottom; the decision is marked."""
    verdict = "undecided" if sample.prediction < 0 else f"decided for {sample.prediction}"
    truth = "" if sample.label is None else f", true class {sample.label}"
    layers = list(reversed(sample.layers))
    figure = _figure(7.5, 1.2 + 1.7 * len(layers), f"{title}\none test sample: {verdict}{truth}")
    panels = figure.subplots(len(layers), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, spikes) in zip(panels, layers, strict=True):
        T, neurons = spikes.shape
        step, neuron = np.nonzero(spikes)
        size = max(1.5, min(30.0, 300.0 / min(neurons, _MOST_ROWS)))
        axes.scatter(step, neuron, s=size, marker="|" if neurons <= 64 else ".", color=BLACK, linewidths=1.2)
        if sample.decision_step < T:
            axes.axvline(sample.decision_step, color=ORANGE, linestyle="--", linewidth=1.2)
        axes.set_ylim(-0.5, neurons - 0.5)
        axes.set_xlim(-0.5, T - 0.5)
        if neurons <= 10:
            axes.set_yticks(range(neurons))
        label = {"input": "input"}.get(name, f"{name}" if axes is not panels[0] else "output")
        axes.set_ylabel(f"{label}\nneuron")
        axes.text(
            1.01,
            0.5,
            f"{int(spikes.sum())} spikes\n{neurons} neurons",
            transform=axes.transAxes,
            va="center",
            fontsize=8,
        )
    panels[-1].set_xlabel("time step")
    if sample.decision_step < layers[0][1].shape[0]:
        panels[0].annotate(
            f"decision at step {sample.decision_step}", (sample.decision_step, 1.02), color=ORANGE, fontsize=9,
            xycoords=("data", "axes fraction"), ha="center",
        )  # fmt: skip
    return figure


def confusion(counts: np.ndarray, title: str) -> Any:
    """True class against decision; the last column counts samples without any output spike."""
    classes = counts.shape[0]
    right = np.trace(counts[:, :classes])
    figure = _figure(
        1.8 + 0.5 * (classes + 1), 1.6 + 0.5 * classes, f"{title}\n{right} of {counts.sum()} test samples right"
    )
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if share[row, column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(classes + 1), [*map(str, range(classes)), "none"])
    axes.set_yticks(range(classes), map(str, range(classes)))
    axes.axvline(classes - 0.5, color=BLACK, linewidth=1)
    axes.set_xlabel("decision (none: no output spike)")
    axes.set_ylabel("true class")
    figure.colorbar(image, ax=axes, label="share of the class", fraction=0.045)
    return figure


def _figure(width: float, height: float, title: str) -> Any:
    """A figure of its own; no pyplot, so nothing global is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    return figure


def _column(rows: Sequence[Row], key: str) -> np.ndarray:
    values = [row.get(key) for row in rows]
    return np.array([np.nan if value is None else value for value in values], dtype=float)

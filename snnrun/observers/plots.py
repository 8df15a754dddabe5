"""Plots of a run, readable without explanation: learning curves, accuracy against spikes, raster, confusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snnrun.data.report import Reporter
from snnrun.figures import BLACK, BLUE, DPI, GREEN, GREY, ORANGE, new_figure, whole_numbers
from snnrun.observers.base import Outcome, Progress, Raster, Row, RunInfo

_LAYER_STYLES = ("-", "--", "-.", ":")
_MOST_CELLS = 20  # classes up to which a confusion matrix has room for its counts


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
        test = outcome.summary.get("test") or {}
        best = outcome.summary.get("best_epoch")
        evidence, title = outcome.evidence, self._title()
        if epochs:
            self._save(outcome, "learning_curves", lambda: learning_curves(epochs, title, best))
            if np.isfinite(_column(epochs, "val/acc")).any():
                self._save(outcome, "accuracy_spikes", lambda: accuracy_spikes(epochs, test, title, best))
        if evidence is not None:
            self._save(outcome, "raster", lambda: raster(evidence.raster, title))
            if evidence.confusion is not None:
                counts = evidence.confusion
                self._save(outcome, "confusion", lambda: confusion(counts, title))

    def _title(self) -> str:
        run = self.run
        return f"{run.method} gradient, {run.loss} loss, {run.dataset}, seed {run.seed}"

    def _save(self, outcome: Outcome, name: str, draw: Callable[[], Any]) -> None:
        path = Path(self.run.run_dir) / "plots" / f"{name}.png"
        try:
            path.parent.mkdir(exist_ok=True)
            draw().savefig(path, dpi=DPI)
            outcome.plots[name] = path
        except (OSError, ValueError, RuntimeError) as error:
            self.report.note(f"{path.name} could not be drawn ({error})")


def learning_curves(epochs: Sequence[Row], title: str, best_epoch: int | None = None) -> Any:
    """What training changed, epoch by epoch: learning, its cost in spikes and time, and the state of each layer.

    Args:
        best_epoch: the epoch that best.pt holds, marked in every panel.
    """
    split = {"training": ("train", "--", ORANGE), "validation": ("val", "-", BLUE)}
    panels = [
        ("loss", {name: (f"{part}/loss", style, color, 1) for name, (part, style, color) in split.items()}),
        ("accuracy (%)", {name: (f"{part}/acc", style, color, 100) for name, (part, style, color) in split.items()}),
        (
            "spikes per sample",
            {name: (f"{part}/spikes", style, color, 1) for name, (part, style, color) in split.items()}
            | {"validation, up to decision": ("val/spikes_to_decision", "-.", GREEN, 1)},
        ),
        ("first output spike (step)", {"validation": ("val/latency", "-", BLUE, 1)}),
        ("silent neurons (%)", _per_layer(epochs, "silent", 100)),
        ("gradient norm of weights", _per_layer(epochs, "grad_norm", 1)),
    ]
    drawn = [(label, lines) for label, lines in panels if _any_finite(epochs, [line[0] for line in lines.values()])]
    columns = min(3, max(1, len(drawn)))
    rows = max(1, -(-len(drawn) // columns))
    figure = new_figure(4.0 * columns, 0.5 + 3.0 * rows, title)
    panes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, (label, lines) in zip(panes, drawn, strict=False):
        for legend, (key, style, color, scale) in lines.items():
            _curve(axes, epochs, key, scale, linestyle=style, color=color, label=legend)
        if best_epoch:
            name = "best.pt" if axes is panes[0] else None
            axes.axvline(best_epoch, color=BLACK, linewidth=1, linestyle=":", label=name, zorder=0)
        if label.startswith("gradient") and (_values(epochs, lines) > 0).all():
            axes.set_yscale("log")
        whole_numbers(axes.xaxis)
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    for axes in panes[len(drawn) :]:
        axes.set_axis_off()
    return figure


def accuracy_spikes(
    epochs: Sequence[Row], test: Mapping[str, float | None], title: str, best_epoch: int | None = None
) -> Any:
    """Validation accuracy against spikes per sample, coloured by epoch, with the test result."""
    from matplotlib.colors import Normalize

    figure = new_figure(6.4, 4.6, title)
    axes = figure.subplots()
    y, epoch = 100 * _column(epochs, "val/acc"), _column(epochs, "epoch")
    color = {"c": epoch, "cmap": "cividis", "norm": Normalize(epoch.min(), max(epoch.max(), epoch.min() + 1))}
    edge = {"edgecolor": "0.3", "linewidths": 0.5}
    series = (("spikes", "o", "whole window"), ("spikes_to_decision", "^", "up to the first output spike"))
    points: Any = None
    for key, marker, name in series:
        x = _column(epochs, f"val/{key}")
        axes.plot(x, y, color="0.8", linewidth=1, zorder=1)
        points = axes.scatter(x, y, marker=marker, s=36, zorder=2, label=f"validation, {name}", **color, **edge)
        if best_epoch:
            best = epoch == best_epoch
            axes.scatter(x[best], y[best], marker=marker, s=110, facecolor="none", edgecolor=BLACK, zorder=2)
        spikes, accuracy = test.get(key), test.get("acc")
        if spikes is not None and accuracy is not None:
            label = f"test: {100 * accuracy:.1f} % with {spikes:,.0f} spikes"
            size = 260 if marker == "o" else 130
            star = {"marker": "*", "s": size, "color": ORANGE, "edgecolor": BLACK, "zorder": 3}
            axes.scatter([spikes], [100 * accuracy], label=label, **star)
    axes.set(xlabel="spikes per sample, all layers (input not counted)", ylabel="accuracy (%)")
    axes.grid(alpha=0.3)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    if len(epochs) > 1:
        whole_numbers(figure.colorbar(points, ax=axes, label="epoch (black ring: best.pt)").ax.yaxis)
    return figure


def raster(sample: Raster, title: str) -> Any:
    """Spikes of one test sample, a panel per layer, time to the right; what came after the decision is grey.

    Where there are target trains instead of classes, they lie behind the output's.
    """
    figure = new_figure(7.5, 1.2 + 1.6 * len(sample.layers), f"{title}\none test sample: {_verdict(sample)}")
    panels = figure.subplots(len(sample.layers), 1, sharex=True, squeeze=False)[:, 0]
    decided = sample.target is None and sample.decision_step < sample.layers[0][1].shape[0]
    for axes, (name, spikes) in zip(panels, sample.layers, strict=True):
        is_output = axes is panels[-1]
        T, neurons = spikes.shape
        if decided:
            axes.axvline(sample.decision_step, color=ORANGE, linestyle="--", linewidth=1.2, zorder=1)
        if is_output and sample.target is not None:
            step, neuron = np.nonzero(sample.target)
            size = float(np.clip(80 / neurons, 3, 12)) ** 2
            axes.scatter(step, neuron, s=size, marker="s", color=ORANGE, alpha=0.45, linewidths=0, zorder=1)
        elif is_output and sample.prediction >= 0:
            axes.axhspan(sample.prediction - 0.5, sample.prediction + 0.5, color=ORANGE, alpha=0.15, zorder=0)
        step, neuron = np.nonzero(spikes)
        # marks as high as a neuron's share of the panel, in points, but never too small to be seen
        mark = {"marker": "|", "s": float(np.clip(80 / neurons, 3, 9)) ** 2, "linewidths": 1.3}
        if neurons > 64:
            mark = {"marker": ".", "s": 4.0 if neurons > 256 else 8.0, "linewidths": 0.5}
        counted = (step <= sample.decision_step) | (sample.target is not None)
        axes.scatter(step, neuron, c=np.where(counted, BLACK, GREY), zorder=2, **mark)
        axes.set(xlim=(-0.5, T - 0.5), ylim=(-0.5 - 0.02 * neurons, neurons - 0.5 + 0.02 * neurons))
        if neurons <= 10:
            axes.set_yticks(range(neurons))
            axes.tick_params(axis="y", labelsize=7)
        axes.set_ylabel(f"{name}{' (output)' if is_output else ''}\nneuron", fontsize=9)
        total = int(spikes.sum())
        counts = f"{neurons:,} neurons\n{total:,} spike{'' if total == 1 else 's'}"
        if decided:
            counts += f"\n{int(spikes[: sample.decision_step + 1].sum()):,} to decision"
        if is_output and sample.target is not None:
            counts += f"\n{int(sample.target.sum()):,} target spikes"
        axes.text(1.01, 0.5, counts, transform=axes.transAxes, va="center", fontsize=8)
    panels[-1].set_xlabel("time step")
    if decided:
        panels[0].annotate(
            f"first output spike: step {sample.decision_step}", (sample.decision_step, 1.03), color=ORANGE,
            fontsize=9, xycoords=("data", "axes fraction"), ha="center",
        )  # fmt: skip
    return figure


def _verdict(sample: Raster) -> str:
    if sample.target is not None:
        return "black output spikes should cover the orange target spikes"
    verdict = "no output spike, undecided" if sample.prediction < 0 else f"decided for {sample.prediction}"
    return verdict if sample.label is None else f"{verdict}, true class {sample.label}"


def confusion(counts: np.ndarray, title: str) -> Any:
    """True class against decision; the last column counts samples without any output spike.

    Args:
        counts: test samples, [classes, classes + 1].
    """
    classes = counts.shape[0]
    right, total = int(np.trace(counts[:, :classes])), int(counts.sum())
    with_counts = classes <= _MOST_CELLS
    cell = 0.46 if with_counts else 8 / classes
    size = cell * (classes + 1)
    result = f"{right:,} of {total:,} test samples right ({right / max(total, 1):.1%})"
    figure = new_figure(2.0 + max(size, 3.5), 1.2 + max(size, 3.0), f"{title}\n{result}")
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    for (row, column), count in np.ndenumerate(counts):
        if count and with_counts:
            color = "white" if share[row, column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
    every = 1 if with_counts else -(-classes // _MOST_CELLS)
    ticks = list(range(0, classes, every))
    axes.set_xticks([*ticks, classes], [*map(str, ticks), "none"])
    axes.set_yticks(ticks)
    axes.axvline(classes - 0.5, color=BLACK, linewidth=1)
    axes.set(xlabel="decision (none: no output spike)", ylabel="true class")
    figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.8)
    return figure


def _per_layer(epochs: Sequence[Row], kind: str, scale: int) -> dict[str, tuple[str, str, str, int]]:
    """One line per spiking layer: name -> (key, style, colour, scale)."""
    names = [key.partition("/")[2] for key in epochs[-1] if key.startswith(f"{kind}/")]
    colors = (BLUE, ORANGE, GREEN, BLACK)
    return {
        name: (f"{kind}/{name}", _LAYER_STYLES[(index + index // 4) % 4], colors[index % 4], scale)
        for index, name in enumerate(names)
    }


def _curve(axes: Any, epochs: Sequence[Row], key: str, scale: float, **style: Any) -> None:
    y = scale * _column(epochs, key)
    # a line through a single point, or one between gaps, would be invisible
    marker = "o" if np.isfinite(y).sum() < 3 else None
    axes.plot(_column(epochs, "epoch"), y, marker=marker, markersize=4, **style)


def _column(rows: Sequence[Row], key: str) -> np.ndarray:
    """One value per row, NaN where there is none."""
    values = [row.get(key) for row in rows]
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _values(rows: Sequence[Row], lines: Mapping[str, tuple[str, str, str, int]]) -> np.ndarray:
    return np.concatenate([_column(rows, line[0]) for line in lines.values()])


def _any_finite(rows: Sequence[Row], keys: Sequence[str]) -> bool:
    return any(np.isfinite(_column(rows, key)).any() for key in keys)

"""Plots of a comparison: accuracy against spikes, learning curves, decision time, spikes per layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snnrun.compare.curves import Band, Curves, anytime, band, collect, learning
from snnrun.compare.looks import (
    Looks,
    Style,
    add_legend,
    dashed_handle,
    heading,
    is_wide,
    logarithmic,
    looks_of,
    save,
)
from snnrun.compare.report import ACCURACY, Comparison, Metric, Table, best_rows
from snnrun.compare.tradeoff import trade_off
from snnrun.figures import BLACK, new_figure, whole_numbers

MOST_GROUPS = 12
_MOST_LAYERS = 8
_MARKS = 8  # markers along a curve
_WIDTH, _ROW = 8.4, 3.4  # inches: two columns of a page; a row of panels
_FRONT_COLOR = "0.45"


def draw(comparison: Comparison, folder: Path, along: str | None = None) -> tuple[list[Path], list[str]]:
    """Draw all plots that there is data for, as PNG and SVG.

    Args:
        along: an option that moves a method along a curve of accuracy against spikes.

    Returns:
        Paths written, and notes on what could not be shown.

    Raises:
        OSError: the folder cannot be written.
    """
    notes: list[str] = []
    tables = []
    for table in comparison.tables:
        if len(table.rows) > MOST_GROUPS:
            what = f"the best by {table.metrics[0].name}"
            notes.append(f"plots show {MOST_GROUPS} of {len(table.rows)} groups on {table.block.dataset}, {what}")
        tables.append(Table(table.block, table.metrics, best_rows(table, MOST_GROUPS), []))
    damaged: list[str] = []
    learned = [[collect(row.group.runs.values(), learning, damaged) for row in table.rows] for table in tables]
    timed = [[collect(row.group.runs.values(), anytime, damaged) for row in table.rows] for table in tables]
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        notes.append(f"curves are missing from plots: {damaged[0]}{more}")
    figures = {
        "accuracy_spikes": accuracy_spikes(tables),
        "trade_off": trade_off(comparison.tables, along) if along else None,
        "learning_curves": learning_curves(tables, learned),
        "decision_time": decision_time(tables, timed),
        "spikes_per_layer": spikes_per_layer(tables),
    }
    if along and figures["trade_off"] is None:
        notes.append(f"no trade-off curve: no groups differ in {along} alone")
    folder.mkdir(parents=True, exist_ok=True)
    return [
        path for name, figure in figures.items() if figure is not None for path in save(figure, folder, name)
    ], notes


def pareto_front(cost: Sequence[float], value: Sequence[float]) -> list[int]:
    """Indices of points that no other beats in both (lower cost, higher value), by rising cost."""
    front: list[int] = []
    for index in sorted(range(len(cost)), key=lambda i: (cost[i], -value[i])):
        if not front or value[index] > value[front[-1]]:
            front.append(index)
    return front


def accuracy_spikes(tables: Sequence[Table]) -> Any:
    """What a spike buys, in the whole window and up to the decision, with the Pareto front of the means."""
    looks = looks_of(tables)
    figure = new_figure(_WIDTH, 0.7 + _ROW * len(tables), "")
    panels = figure.subplots(len(tables), 2, squeeze=False, sharey="row")
    names = {"spikes": "whole window", "spikes_to_decision": "up to the first output spike"}
    with_front = False
    for table, line in zip(tables, panels, strict=True):
        main = table.metrics[0]
        is_log = is_wide([found.mean for row in table.rows if (found := row.estimates["spikes"])])
        for axes, (key, name) in zip(line, names.items(), strict=True):
            with_front |= _scatter(axes, table, key, looks)
            if is_log:
                logarithmic(axes, "x")
            axes.set_xlabel(f"spikes per sample, {name}")
            axes.grid(alpha=0.3)
        line[0].set_ylabel(_label(main))
        line[0].set_title(heading(table, tables), loc="left", fontsize=10)
        if not main.higher_is_better:
            line[0].yaxis.set_inverted(True)
    more = [dashed_handle(_FRONT_COLOR, "Pareto front of the means")] if with_front else []
    add_legend(figure, list(looks.values()), "mark", more)
    several = any(row.n > 1 for table in tables for row in table.rows)
    what = "test: mean ± standard deviation; small marks: single runs" if several else "test: single runs"
    figure.suptitle(what, fontsize=9)
    return figure


def learning_curves(tables: Sequence[Table], data: Sequence[Sequence[Sequence[Curves]]]) -> Any:
    """Validation accuracy (or loss) and spikes over epochs; None without any.

    Args:
        data: curves of runs of groups of tables.
    """
    panels = [("epoch", None), ("epoch", "spikes")]
    return _curves(tables, data, panels, "validation")


def decision_time(tables: Sequence[Table], data: Sequence[Sequence[Sequence[Curves]]]) -> Any:
    """Accuracy if the network were stopped at a step, over steps and over spikes so far; None without any."""
    panels = [("step", "acc"), ("spikes", "acc")]
    return _curves(tables, data, panels, "test, if the network were stopped there")


def spikes_per_layer(tables: Sequence[Table]) -> Any:
    """Bars per spiking layer: the whole window pale, the part up to the decision solid."""
    layered = [(table, layers) for table in tables if (layers := _layers(table))]
    if not layered:
        return None
    drawn = [table for table, _ in layered]
    looks = looks_of(drawn)
    columns = max(len(layers) for _, layers in layered)
    widest = max(len(table.rows) for table in drawn)
    figure = new_figure(max(6.4, columns * (0.8 + 0.3 * widest)), 0.7 + 3.0 * len(drawn), "")
    panels = figure.subplots(len(drawn), columns, squeeze=False)
    for (table, layers), line in zip(layered, panels, strict=True):
        for axes, layer in zip(line, layers, strict=False):
            _bars(axes, table, layer, looks)
            output = " (output)" if layer == layers[-1] and len(layers) > 1 else ""
            axes.set_title(layer + output, fontsize=9)
        if heading(table, drawn):
            line[0].set_title(f"{heading(table, drawn)}\n{layers[0]}", fontsize=9)
        line[0].set_ylabel("spikes per sample")
        for axes in line[len(layers) :]:
            axes.set_axis_off()
    add_legend(figure, list(looks.values()), "bar")
    figure.suptitle("test: whole window (pale, ± standard deviation), up to the first output spike (solid)", fontsize=9)
    return figure


def _scatter(axes: Any, table: Table, key: str, looks: Looks) -> bool:
    """Draw runs and means; whether there are enough of them for a Pareto front."""
    main = table.metrics[0]
    means: list[tuple[float, float]] = []
    for row in table.rows:
        look = looks[row.group.label]
        xs, ys = row.group.values(key), row.group.values(main.key)
        if not xs or not ys:
            continue
        x, y = np.array([xs[run] for run in ys]), main.scale * np.array([ys[run] for run in ys])
        center = (float(x.mean()), float(y.mean()))
        means.append(center)
        if len(x) > 1:
            axes.scatter(x, y, marker=look.marker, s=12, color=look.color, alpha=0.45, linewidths=0, zorder=2)
            spread = {"xerr": x.std(ddof=1), "yerr": y.std(ddof=1)}
            axes.errorbar(*center, **spread, color=look.color, linewidth=1, capsize=2, zorder=3)
        axes.scatter(*center, marker=look.marker, s=60, color=look.color, edgecolor="white", linewidths=0.8, zorder=4)
    sign = 1.0 if main.higher_is_better else -1.0
    front = [means[i] for i in pareto_front([x for x, _ in means], [sign * y for _, y in means])]
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="post", color=_FRONT_COLOR, linestyle="--", linewidth=1, zorder=1)
    axes.margins(0.1)
    return len(front) > 1


def _curves(
    tables: Sequence[Table],
    data: Sequence[Sequence[Sequence[Curves]]],
    panels: Sequence[tuple[str, str | None]],
    what: str,
) -> Any:
    """A row of panels per data set: means over runs with bands.

    Args:
        panels: names of x and y; None for the metric that groups are judged by.
    """
    drawn, bands = [], []
    for table, groups in zip(tables, data, strict=True):
        found = [[band(group, x, y or table.metrics[0].key) for group in groups] for x, y in panels]
        if any(found[0]):
            drawn.append(table)
            bands.append(found)
    if not drawn:
        return None
    looks = looks_of(drawn)
    figure = new_figure(_WIDTH, 0.7 + _ROW * len(drawn), "")
    places = figure.subplots(len(drawn), len(panels), squeeze=False)
    for table, found, line in zip(drawn, bands, places, strict=True):
        for axes, (x, y), per_group in zip(line, panels, found, strict=True):
            metric = next((metric for metric in table.metrics if metric.key == y), ACCURACY if y else table.metrics[0])
            for index, (row, one) in enumerate(zip(table.rows, per_group, strict=True)):
                if one is not None:
                    _curve(axes, one, metric.scale, looks[row.group.label], index)
            _axes_of_curves(axes, x, metric, [one for one in per_group if one is not None])
        line[0].set_title(heading(table, drawn), loc="left", fontsize=10)
    is_cut = any(one is not None and one.is_cut for found in bands for per_group in found for one in per_group)
    cut = ", as far as all runs of a group go" if is_cut else ""
    add_legend(figure, list(looks.values()), "line")
    figure.suptitle(f"{what}: mean, band of ± one standard deviation{cut}", fontsize=9)
    return figure


def _axes_of_curves(axes: Any, x: str, metric: Metric, bands: Sequence[Band]) -> None:
    axes.set(ylabel="spikes per sample" if metric.key == "spikes" else _label(metric).removeprefix("test "))
    axes.grid(alpha=0.3)
    if metric.key == "spikes" and is_wide([float(value) for found in bands for value in found.mean]):
        logarithmic(axes, "y")
    if x == "epoch":
        axes.set_xlabel("epoch")
        whole_numbers(axes.xaxis)
    elif x == "step":
        axes.set_xlabel("time step")
    else:
        axes.set_xlabel("spikes per sample so far")
        # from where the first group gets some samples right: before, all curves are 0
        left = min((float(found.x[found.mean > 0.01].min(initial=np.inf)) for found in bands), default=np.inf)
        right = max((float(found.x.max()) for found in bands), default=0.0)
        if 0 < left < right:
            if is_wide([left, right]):
                logarithmic(axes, "x")
            axes.set_xlim(left=left)


def _curve(axes: Any, found: Band, scale: float, look: Style, index: int) -> None:
    mean = scale * found.mean
    every = max(1, len(mean) // _MARKS)
    marks = {"marker": look.marker, "markersize": 4.5, "markevery": (index * every // 4 % every, every)}
    axes.plot(found.x, mean, color=look.color, linestyle=look.line, linewidth=1.4, zorder=3, **marks)
    if found.sd is not None:
        low, high = mean - scale * found.sd, mean + scale * found.sd
        axes.fill_between(found.x, low, high, color=look.color, alpha=0.18, linewidth=0, zorder=2)


def _bars(axes: Any, table: Table, layer: str, looks: Looks) -> None:
    """A bar per group, from 0: lengths are what is compared."""
    for index, row in enumerate(table.rows):
        look = looks[row.group.label]
        for key, alpha in ((f"spikes/{layer}", 0.25), (f"spikes_to_decision/{layer}", 0.8)):
            values = np.array(list(row.group.values(key).values()))
            if not len(values):
                continue
            mean, sd = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
            axes.bar(index, mean, 0.86, color=(look.color, alpha), edgecolor=BLACK, linewidth=0.6, hatch=look.hatch)
            if key.startswith("spikes/"):
                if sd:
                    axes.errorbar(index, mean, sd, color=BLACK, capsize=2, linewidth=1)
                size = {"fontsize": 7 if len(table.rows) <= 6 else 5.5, "ha": "center"}
                text = f"{mean:,.0f}" if mean >= 10 else f"{mean:.2g}"
                axes.annotate(text, (index, mean + sd), (0, 2), textcoords="offset points", **size)
    axes.set_xticks([])
    axes.set_xlim(-0.7, len(table.rows) - 0.3)
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)


def _layers(table: Table) -> list[str]:
    """``layer0`` ..., of the deepest network."""
    names = {
        key.removeprefix("spikes/")
        for row in table.rows
        for run in row.group.runs.values()
        for key in run.test
        if key.startswith("spikes/layer") and key[len("spikes/layer") :].isdecimal()
    }
    return sorted(names, key=lambda name: int(name.removeprefix("layer")))[:_MOST_LAYERS]


def _label(metric: Metric) -> str:
    return f"{metric.name} ({metric.unit})" if metric.unit else metric.name

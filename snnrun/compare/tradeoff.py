"""The trade-off curve: what a method reaches at which number of spikes, while one option moves it along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from snnrun.compare.groups import label_of, shown, telling_keys
from snnrun.compare.looks import Style, add_legend, heading, is_wide, logarithmic, style
from snnrun.compare.report import Row, Table
from snnrun.figures import new_figure

_WIDTH, _ROW = 8.4, 3.6  # inches
_PANELS = {"spikes_to_decision": "up to the first output spike", "spikes": "whole window"}


def trade_off(tables: Sequence[Table], along: str) -> Any:
    """Accuracy (or loss) against spikes, groups that differ in ``along`` alone joined in its order; None without any.

    Args:
        along: the option, of numbers, e.g. ``loss.rate_weight``; every point is labelled with its value.
    """
    joined = [(table, lines) for table in tables if (lines := lines_of(table, along))]
    if not joined:
        return None
    labels = dict.fromkeys(label for _, lines in joined for label in lines)
    looks = {label: style(index, label) for index, label in enumerate(labels)}
    figure = new_figure(_WIDTH, 0.7 + _ROW * len(joined), "")
    panels = figure.subplots(len(joined), len(_PANELS), squeeze=False, sharey="row")
    drawn = [table for table, _ in joined]
    for (table, lines), places in zip(joined, panels, strict=True):
        main = table.metrics[0]
        for axes, (key, name) in zip(places, _PANELS.items(), strict=True):
            means = [
                _line(axes, rows, key, table, looks[label], along, above=index % 2 == 1)
                for index, (label, rows) in enumerate(lines.items())
            ]
            if is_wide([x for line in means for x in line]):
                logarithmic(axes, "x")
            axes.set_xlabel(f"spikes per sample, {name}")
            axes.grid(alpha=0.3)
            axes.margins(0.1)
        unit = f" ({main.unit})" if main.unit else ""
        places[0].set_ylabel(f"{main.name}{unit}")
        places[0].set_title(heading(table, drawn), loc="left", fontsize=10)
        if not main.higher_is_better:
            places[0].yaxis.set_inverted(True)
    add_legend(figure, list(looks.values()), "line")
    runs = {row.n for table in drawn for row in table.rows}
    what = "mean ± standard deviation" if max(runs) > 1 else "single runs"
    figure.suptitle(f"test: {what}; the numbers are {along}", fontsize=9)
    return figure


def lines_of(table: Table, along: str) -> dict[str, list[Row]]:
    """Rows that differ in one option alone, by what they share, sorted by that option; single rows make no line."""
    by = [name for name in table.block.by if name != along]
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in table.rows:
        if isinstance(row.group.key.get(along), int | float):
            parts.setdefault(tuple(row.group.key[name] for name in by), []).append(row)
    telling = telling_keys(by, by, list(parts))
    lines = {}
    for values, rows in parts.items():
        if len(rows) > 1:
            label = label_of(dict(zip(by, values, strict=True)), telling) or table.block.dataset
            lines[label] = sorted(rows, key=lambda row: row.group.key[along])
    return lines


def _line(axes: Any, rows: Sequence[Row], key: str, table: Table, look: Style, along: str, above: bool) -> list[float]:
    """Draw one line with the option's values above or below its points; returns where these lie on the x axis."""
    main, points = table.metrics[0], []
    for row in rows:
        xs, ys = row.group.values(key), row.group.values(main.key)
        if xs and ys:
            points.append((row, np.array([xs[run] for run in ys]), main.scale * np.array(list(ys.values()))))
    means = [(float(x.mean()), float(y.mean())) for _, x, y in points]
    axes.plot(*zip(*means, strict=True), color=look.color, linestyle=look.line, marker=look.marker, markersize=6)
    for (row, x, y), mean in zip(points, means, strict=True):
        if len(x) > 1:
            axes.errorbar(*mean, xerr=x.std(ddof=1), yerr=y.std(ddof=1), color=look.color, linewidth=1, capsize=2)
        place = {"xytext": (0, 5), "ha": "right"} if above else {"xytext": (4, -9), "ha": "left"}
        axes.annotate(
            _brief(row.group.key[along]), mean, **place, textcoords="offset points", fontsize=6, color=look.color
        )
    return [x for x, _ in means]


def _brief(value: float) -> str:
    """0.0003 as 3e-4."""
    text, short = shown(value), f"{value:.0e}".replace("e-0", "e-")
    return short if float(short) == value and len(short) < len(text) else text

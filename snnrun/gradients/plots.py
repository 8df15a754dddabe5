"""Plots of what was measured: predictions against changes, agreement over size and density, steps, a landscape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snnrun import registry
from snnrun.compare.looks import Style, add_legend, logarithmic, save
from snnrun.figures import AMBER, BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, new_figure
from snnrun.gradients.landscape import Landscape
from snnrun.gradients.measure import REMEDY, SECANT, Result, Row, StepRow

_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, BLACK)
_MARKERS, _LINES = ("o", "s", "^", "D", "v", "P", "X"), ("-", "--", "-.", ":")
_SECANT = Style(GREY, ".", ":", "", "the loss itself: secant of the next larger size")
_DODGE = 1.06  # factor on a logarithmic axis that keeps error bars of methods apart
_WIDTH = 8.4  # inches
_COLUMNS = {"correlation": "correlation", "sign": "sign agreement (%)"}


def draw(result: Result, field: Landscape | None, folder: Path, what: str) -> list[Path]:
    """Draw all plots as PNG and SVG; ``what`` names network, data and loss in their titles.

    Raises:
        OSError: the folder cannot be written.
    """
    figures = {"prediction": prediction(result, what), "sizes": over_sizes(result.sizes, what)}
    if result.density:
        figures["density"] = over_density(result.density, what)
    figures["steps"] = steps(result.steps, what)
    if field is not None:
        figures["landscape"] = plane(field)
    return [path for name, figure in figures.items() for path in save(figure, folder, name)]


def prediction(result: Result, what: str) -> Any:
    """Real against predicted changes of the loss, for random directions of the middle size in the first network."""
    rows = [row for row in result.sizes if row.probe == result.sizes[0].probe]
    sizes = sorted({row.size for row in rows})
    middle = len(sizes) // 2
    looks = _looks(rows)
    methods = [name for name in looks if name != SECANT]
    figure = new_figure(_WIDTH, 3.2, "")
    real = result.scatter.real[middle].ravel()
    for axes, name in zip(figure.subplots(1, len(methods), sharey=True, squeeze=False)[0], methods, strict=True):
        predicted = result.scatter.predicted[name][middle].ravel()
        axes.scatter(predicted, real, s=9, color=looks[name].color, marker=looks[name].marker, alpha=0.6, linewidths=0)
        axes.axhline(0, color=BLACK, linewidth=0.5)
        axes.axvline(0, color=BLACK, linewidth=0.5)
        if predicted.any() and real.any():
            r = np.corrcoef(predicted, real)[0, 1]
            factor, offset = np.polyfit(predicted, real, 1)
            ends = np.array([predicted.min(), predicted.max()])
            axes.plot(ends, factor * ends + offset, color=BLACK, linewidth=1, linestyle="--")
            axes.set_title(f"{name}: correlation {r:.2f}\n(line: {factor:.2g} times the prediction)", fontsize=9)
        axes.set_xlabel("predicted change of the loss")
        axes.grid(alpha=0.3)
        axes.locator_params(axis="x", nbins=4)
    figure.axes[0].set_ylabel("real change of the loss")
    figure.suptitle(f"{what}: random directions, {100 * sizes[middle]:g} % of the weights, one network", fontsize=9)
    return figure


def over_sizes(rows: Sequence[Row], what: str) -> Any:
    """Correlation, sign agreement and share of changes without effect over the size of the change."""
    figure, panels, looks = _panels(rows, what, columns=3)
    for line, (probe, own) in zip(panels, _by_probe(rows).items(), strict=True):
        _agreement_panels(line[:2], own, looks, lambda row: row.size)
        first = [row for row in own if row.method == next(iter(looks))]
        share = [100 * (1 - row.agreement.unchanged) for row in first]
        line[2].plot([row.size for row in first], share, color=BLACK, marker="o", markersize=4, linewidth=1.2)
        line[2].set(ylim=(-4, 104), ylabel="changes with any effect (%)")
        unit = "size / norm of weights" if probe == rows[0].probe else "size / rms weight of the layer"
        for axes in line:
            _log_x(axes, [row.size for row in own])
            axes.set_xlabel(unit)
            axes.grid(alpha=0.3)
    _finish(figure, looks)
    return figure


def over_density(rows: Sequence[Row], what: str) -> Any:
    """Correlation and sign agreement over spikes per hidden neuron."""
    sizes = {row.probe: row.size for row in rows}
    figure, panels, looks = _panels(rows, what, columns=2)
    for line, (probe, own) in zip(panels, _by_probe(rows).items(), strict=True):
        _agreement_panels(line, own, looks, lambda row: row.hidden_spikes)
        unit = "the norm of the weights" if probe == rows[0].probe else "the layer's rms weight"
        line[0].set_title(f"{_title(probe)}, changed by {sizes[probe]:g} times {unit}", loc="left", fontsize=9)
        for axes in line:
            _log_x(axes, [row.hidden_spikes for row in own])
            axes.set_xlabel("spikes per hidden neuron and sample")
            axes.grid(alpha=0.3)
    _finish(figure, looks)
    return figure


def steps(rows: Sequence[StepRow], what: str) -> Any:
    """By how much the loss falls after one step down each gradient, over the length of the step."""
    looks = _looks(rows)
    figure = new_figure(6.4, 3.6, "")
    axes = figure.subplots()
    for index, (name, look) in enumerate(looks.items()):
        own = [row for row in rows if row.method == name]
        x = [row.size * _DODGE ** (index - len(looks) / 2) for row in own]
        y, error = [100 * row.decrease for row in own], [100 * row.error for row in own]
        bars = {"color": look.color, "linestyle": look.line, "marker": look.marker, "markersize": 4.5}
        axes.errorbar(x, y, error, capsize=2, linewidth=1.2, **bars)
    _log_x(axes, [row.size for row in rows])
    axes.axhline(0, color=BLACK, linewidth=0.8)
    axes.set_yscale("symlog", linthresh=1, linscale=0.6)  # from fractions of a percent to losses that triple
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(y=0.08)
    axes.set(xlabel="length of the step / norm of weights", ylabel="loss falls by (%)")
    axes.grid(alpha=0.3)
    figure.suptitle(f"{what}:\none step down the gradient of a batch, mean ± standard error", fontsize=9)
    _finish(figure, looks)
    return figure


def plane(field: Landscape) -> Any:
    """The loss over two weights, with steps against each method's gradient, and what the loss really does."""
    panels = [*field.fields, "real"]
    figure = new_figure(_WIDTH, 3.65 * -(-len(panels) // 2) + 0.5, "")
    places = figure.subplots(-(-len(panels) // 2), 2, squeeze=False, sharex=True, sharey=True)
    image = None
    for axes, name in zip(places.flat, panels, strict=False):
        image = axes.pcolormesh(field.weights, field.weights, field.loss, cmap="Greys", rasterized=True)
        border = {"colors": SKY, "linewidths": 0.8}
        axes.contour(field.weights, field.weights, field.spikes, np.arange(0.5, field.spikes.max()), **border)
        _arrows(axes, field.at, field.real if name == "real" else field.fields[name], name)
        if name == "real":
            title = "what the loss does\ndifferences over the spacing of arrows"
        else:
            ways = [f"{100 * share:.0f} %" for share in field.ways[name]]
            title = f"{name}\ndown {ways[0]}, up {ways[1]}, nowhere {ways[2]}"
        axes.set_title(title, fontsize=9)
        axes.set_aspect("equal")
    for axes in places[-1]:
        axes.set_xlabel("weight of the first input")
    for axes in places[:, 0]:
        axes.set_ylabel("weight of the second input")
    for axes in places.flat[len(panels) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=places, label="loss (van Rossum distance)", shrink=0.6)
    figure.suptitle(
        "One neuron with two inputs. Blue: it gains or loses a spike. Arrows: against the gradient (their length: its "
        "square root);\ndots: gradient exactly 0. Down, up: what the loss does where it first changes along the arrow; "
        "nowhere: never",
        fontsize=9,
    )
    return figure


def _arrows(axes: Any, at: np.ndarray, gradient: np.ndarray, name: str) -> None:
    length = np.linalg.norm(gradient, axis=-1)
    zero = length == 0
    x, y = np.meshgrid(at, at)
    color = BLACK if name == "real" else ORANGE
    axes.plot(x[zero], y[zero], ".", color=color, markersize=2.5)
    if zero.all():
        return
    longest = np.quantile(length[~zero], 0.9)  # a few steep places would leave nothing of the others
    scaled = np.sqrt(np.minimum(length / longest, 1))[..., None]
    unit = -gradient / np.where(zero, 1, length)[..., None] * scaled * (at[1] - at[0]) * 0.95
    how = {"angles": "xy", "scale_units": "xy", "scale": 1, "pivot": "mid", "width": 0.0045}
    axes.quiver(x[~zero], y[~zero], unit[~zero][:, 0], unit[~zero][:, 1], color=color, **how)


def _panels(rows: Sequence[Row], what: str, columns: int) -> tuple[Any, Any, dict[str, Style]]:
    probes = _by_probe(rows)
    figure = new_figure(_WIDTH, 0.6 + 2.5 * len(probes), "")
    panels = figure.subplots(len(probes), columns, squeeze=False)
    for line, probe in zip(panels, probes, strict=True):
        line[0].set_title(_title(probe), loc="left", fontsize=9)
    count = f"{rows[0].networks} network{'s' if rows[0].networks > 1 else ''}"
    figure.suptitle(f"{what}: mean of {count}, 95 % bootstrap interval", fontsize=9)
    return figure, panels, _looks(rows)


def _agreement_panels(
    line: Sequence[Any], rows: Sequence[Row], looks: dict[str, Style], x_of: Callable[[Row], float]
) -> None:
    for axes, (key, label) in zip(line, _COLUMNS.items(), strict=True):
        scale, chance = (100, 50) if key == "sign" else (1, 0)
        axes.axhline(chance, color=BLACK, linewidth=0.8)
        for index, (name, look) in enumerate(looks.items()):
            own = [row for row in rows if row.method == name]
            estimates = np.array([getattr(row.agreement, key) for row in own]) * scale
            if not len(own):
                continue
            value, low, high = estimates.T
            x = np.array([x_of(row) for row in own]) * _DODGE ** (index - len(looks) / 2)
            style = {"color": look.color, "linestyle": look.line, "marker": look.marker, "markersize": 4}
            if name == SECANT:
                axes.plot(x, value, **style, linewidth=1.2, zorder=1)
            else:
                span = np.abs([np.fmin(low, value) - value, np.fmax(high, value) - value])
                axes.errorbar(x, value, span, capsize=2, linewidth=1.2, elinewidth=0.8, **style)
        axes.set_ylabel(label)
        axes.set_ylim(*((-4, 104) if key == "sign" else (-1.05, 1.05)))


def _log_x(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic axis around these values, also where nothing is drawn at them; 0 is left out."""
    positive = [value for value in values if value > 0]
    if not positive:
        return
    axes.set_xscale("log")
    axes.set_xlim(min(positive) / 1.4, max(positive) * 1.4)
    if max(positive) < 200 * min(positive):
        logarithmic(axes, "x")


def _by_probe(rows: Sequence[Row]) -> dict[str, list[Row]]:
    probes: dict[str, list[Row]] = {}
    for row in rows:
        probes.setdefault(row.probe, []).append(row)
    return probes


def _title(probe: str) -> str:
    return "random directions, all weights" if probe.startswith("all") else probe


def _looks(rows: Sequence[Row] | Sequence[StepRow]) -> dict[str, Style]:
    """Styles by method, whichever others are there; a variant has its method's colour."""
    names, known = list(dict.fromkeys(row.method for row in rows)), registry.names("method")
    looks: dict[str, Style] = {}
    for name in names:
        if name == SECANT:
            continue
        k = known.index(name.removesuffix(REMEDY))
        variant = name.endswith(REMEDY)
        line = ":" if variant else _LINES[k % len(_LINES)]
        looks[name] = Style(_COLORS[k % 7], "x" if variant else _MARKERS[k % 7], line, "", name)
    return looks | ({SECANT: _SECANT} if SECANT in names else {})


def _finish(figure: Any, looks: dict[str, Style]) -> None:
    add_legend(figure, list(looks.values()), "line")

"""How groups look in plots, for print and screen, and the legend that says so.

Groups differ in colour (Okabe & Ito), marker, line style and hatching at once, so that any one of them may be lost.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from snnrun.compare.report import Table
from snnrun.figures import AMBER, BLACK, BLUE, DPI, GREEN, ORANGE, PURPLE, SKY

_COLORS = (BLUE, ORANGE, GREEN, BLACK, PURPLE, SKY, AMBER)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
_LINES = ("-", "--", "-.", ":")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "|||", "---", "//..", "\\\\..", "xx..")
_LONGEST_LABEL = 40
_LEGEND_LINE = 0.17  # inches
_LOG_FROM = 5.0  # ratio of largest to smallest from which an axis is logarithmic


class Style(NamedTuple):
    """How a group looks in every plot."""

    color: str
    marker: str
    line: str
    hatch: str
    label: str


Looks = Mapping[str, Style]  # by a group's label; the same on every data set


def looks_of(tables: Sequence[Table]) -> Looks:
    """Styles for all groups; their labels count the runs where there is a single data set to count them on."""
    looks: dict[str, Style] = {}
    for table in tables:
        for row in table.rows:
            label, index = row.group.label, len(looks)
            if label in looks:
                continue
            count = f" ({row.n} {table.block.unit}{'s' if row.n > 1 else ''})" if len(tables) == 1 else ""
            looks[label] = style(index, label, count)
    return looks


def style(index: int, label: str, count: str = "") -> Style:
    """The look of the group with this number; all its features repeat at different periods."""
    return Style(
        _COLORS[index % len(_COLORS)],
        _MARKERS[index % len(_MARKERS)],
        _LINES[index % len(_LINES)],
        _HATCHES[index % len(_HATCHES)],
        _readable(label) + count,
    )


def heading(table: Table, tables: Sequence[Table]) -> str:
    """Title of a data set's panels where there are several: ``digits, 3 to 5 seeds``."""
    if len(tables) == 1:
        return ""
    fewest, most = min(row.n for row in table.rows), max(row.n for row in table.rows)
    count = str(most) if fewest == most else f"{fewest} to {most}"
    return f"{_readable(table.block.dataset)}, {count} {table.block.unit}{'s' if most > 1 else ''}"


def add_legend(figure: Any, styles: Sequence[Style], kind: str, more: Sequence[Any] = ()) -> None:
    """One legend below all panels; the figure grows by its height.

    Args:
        kind: "mark", "line" or "bar".
        more: handles of what else is drawn.
    """
    handles = [*(_handle(style, kind) for style in styles), *more]
    longest = max(len(handle.get_label()) for handle in handles)
    lines = -(-len(handles) // max(1, int(15 * figure.get_figwidth() / (longest + 8))))
    figure.set_figheight(figure.get_figheight() + lines * _LEGEND_LINE)
    # a name that begins with "_" would be hidden
    labels = [f" {text}" if (text := handle.get_label()).startswith("_") else text for handle in handles]
    columns = -(-len(handles) // lines)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def dashed_handle(color: str, label: str) -> Any:
    """Legend entry of a dashed line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, linestyle="--", linewidth=1, label=label)


def save(figure: Any, folder: Path, name: str) -> list[Path]:
    """Write PNG and SVG, the same bytes for the same figure.

    Raises:
        OSError: the folder cannot be written.
    """
    from matplotlib import rc_context

    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "snnrun"}):
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        figure.savefig(paths[0], dpi=DPI)
        figure.set_layout_engine("none")  # laid out once is enough
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def is_wide(values: Sequence[float]) -> bool:
    """Whether values spread over so much that a linear axis would squeeze the small ones."""
    positive = [value for value in values if value > 0]
    return len(positive) > 1 and max(positive) > _LOG_FROM * min(positive)


def logarithmic(axes: Any, which: str) -> None:
    """Make "x" or "y" logarithmic, with ticks 10, 20, 50, 100 ... instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _handle(style: Style, kind: str) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if kind == "bar":
        return Patch(facecolor=(style.color, 0.25), edgecolor=BLACK, hatch=style.hatch, label=style.label)
    line = style.line if kind == "line" else "none"
    return Line2D([], [], color=style.color, linestyle=line, marker=style.marker, markersize=6, label=style.label)


def _readable(name: str) -> str:
    """Not too long, and no formula to matplotlib."""
    half = _LONGEST_LABEL // 2
    short = name if len(name) <= _LONGEST_LABEL else f"{name[:half]}…{name[1 - half :]}"
    return short.replace("$", r"\$")

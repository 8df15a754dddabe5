"""A comparison on the console (rich): tables that fit, sentences below them, and what was set aside."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from snnrun.compare.groups import shown
from snnrun.compare.report import Comparison, Metric, Table, best_rows
from snnrun.compare.runs import Aside
from snnrun.compare.sentences import decimals, footnotes, sentences, with_deviation
from snnrun.compare.statistics import Estimate

_MOST_ROWS = 30
_MOST_WARNINGS = 12
_MOST_ASIDE = 20  # of each kind
_LEFT_OUT = {"test": "evaluations (mode=test)", "debug": "debug runs (name their folder to see them)"}
_ASCII = {"±": "+-", "…": "...", "�": "?"}


def show(comparison: Comparison, console: Console) -> None:
    """Print everything; narrow consoles get the deviation below the mean."""
    for table in comparison.tables:
        _print(console, Text(f"\n{title(table)}", style="bold"))
        console.print(_fitting(table, console))
        for line in _too_many(table):
            _print(console, line)
        for line in sentences(table):
            _print(console, line)
        for line in footnotes(table):
            _print(console, Text(line, style="dim"))
        more = len(table.warnings) - _MOST_WARNINGS
        for line in [*table.warnings[:_MOST_WARNINGS], *([f"{more} more of this kind"] if more > 0 else [])]:
            _print(console, Text(f"! {line}", style="yellow"))
    for line in comparison.notes:
        _print(console, Text(f"! {line}", style="yellow"))
    show_aside(comparison.aside, console)


def show_aside(aside: Sequence[Aside], console: Console, most: int | None = _MOST_ASIDE) -> None:
    """Print runs that cannot be compared, each with its reason.

    Args:
        most: lines of a kind; None for all.
    """
    for state in ("failed", "interrupted", "running", "damaged"):
        some = [run for run in aside if run.state == state]
        for run in some[:most]:
            what = f" ({run.what})" if run.what else ""
            _print(
                console, Text(f"{state}: {run.name}{what}: {run.why}", style="red" if state != "running" else "yellow")
            )
        if most is not None and len(some) > most:
            _print(console, Text(f"{state}: {len(some) - most} more", style="red"))
    for state, name in _LEFT_OUT.items():
        count = sum(run.state == state for run in aside)
        if count:
            _print(console, Text(f"left out: {count} {name}", style="dim"))


def title(table: Table) -> str:
    """What all groups share, and what the numbers are."""
    first = table.rows[0].group
    shared = [shown(value) for key, value in first.key.items() if key not in table.block.by and key != "dataset"]
    where = ", ".join([*(shared if len(table.rows) > 1 else ()), table.block.dataset])
    return f"{where}: test, mean ± standard deviation over {table.block.unit}s"


def fitted(metric: Metric, estimates: Sequence[Estimate | None]) -> Metric:
    """The metric in thousands or millions where its values are large."""
    largest = max((found.mean for found in estimates if found is not None), default=0.0)
    if metric.unit or largest < 1e5:
        return metric
    return metric._replace(scale=1e-6, unit="M") if largest >= 1e7 else metric._replace(scale=1e-3, unit="k")


def key_names(table: Table) -> list[str]:
    """Options that head the first columns."""
    return list(table.block.by or [next(iter(table.rows[0].group.key))])


def cells(table: Table, metric: Metric) -> list[str]:
    """A column: mean ± deviation of every row."""
    column = [row.estimates[metric.key] for row in table.rows]
    return [with_deviation(metric, found, decimals(metric, column)) for found in column]


def _fitting(table: Table, console: Console) -> RichTable:
    wide = _rich(table, console, stacked=False)
    if Measurement.get(console, console.options.update(max_width=10_000), wide).maximum <= console.width:
        return wide
    return _rich(table, console, stacked=True)


def _rich(table: Table, console: Console, stacked: bool) -> RichTable:
    """The table.

    Args:
        stacked: deviations below means, options of a group below each other.
    """
    result = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, show_edge=False)
    names = [name.rpartition(".")[2] for name in key_names(table)]
    for name in [_two_lines(names)] if stacked else names:
        result.add_column(name, style="bold cyan", overflow="fold", min_width=10 if stacked else None)
    result.add_column(f"{table.block.unit}s", justify="right", no_wrap=True)
    columns = []
    for plain in table.metrics:
        metric = fitted(plain, [row.estimates[plain.key] for row in table.rows])
        unit = f"({metric.unit})" if metric.unit else ""
        name = metric.name
        if stacked:
            name = "synops" if name == "synaptic operations" else name.replace(" ", "\n")
        result.add_column(f"{name}{chr(10) if stacked else ' '}{unit}".strip(), justify="right", no_wrap=True)
        columns.append(cells(table, metric))
    marks = [any(metric.key in row.best for row in table.rows) for metric in table.metrics]
    shown_rows = best_rows(table, _MOST_ROWS)
    for row, *values in zip(table.rows, *columns, strict=True):
        if row in shown_rows:
            keys = [shown(row.group.key[name]) for name in key_names(table)]
            keys = [_two_lines(keys)] if stacked else keys
            result.add_row(
                *(Text(_encodable(key, console)) for key in keys),
                str(row.n),
                *(
                    _cell(value, metric.key in row.best, room, stacked, console)
                    for value, metric, room in zip(values, table.metrics, marks, strict=True)
                ),
            )
    return result


def _two_lines(words: Sequence[str]) -> str:
    return "\n".join(line for line in (words[0], " ".join(words[1:])) if line)


def _cell(value: str, is_best: bool, room: bool, stacked: bool, console: Console) -> Text:
    """A value with its mark; cells of a column with a mark leave room for it, so that numbers stay aligned."""
    mean, _, deviation = value.partition(" ± ")
    blank = " " if room else ""
    mark = "*" if is_best else blank
    text = f"{mean}{mark}\n± {deviation}{blank}" if stacked and deviation else f"{value}{mark}"
    return Text(_encodable(text, console), style="bold green" if is_best else "")


def _too_many(table: Table) -> list[str]:
    more = len(table.rows) - _MOST_ROWS
    return (
        [f"({more} more groups; shown are the best by {table.metrics[0].name}, --csv writes all)"] if more > 0 else []
    )


def _print(console: Console, line: Text | str) -> None:
    text = line if isinstance(line, Text) else Text(line)
    text.plain = _encodable(text.plain, console)
    if console.is_terminal:
        console.print(text)
    else:
        console.print(text, soft_wrap=True)


def _encodable(text: str, console: Console) -> str:
    """For terminals that know less than Unicode."""
    if console.encoding.lower().startswith("utf"):
        return text
    for char, plain in _ASCII.items():
        text = text.replace(char, plain)
    return text.encode(console.encoding, "replace").decode(console.encoding)

"""What was measured: tables on the console, and every number as CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from snnrun import atomic
from snnrun.gradients.agreement import Estimate
from snnrun.gradients.landscape import Landscape
from snnrun.gradients.measure import SECANT, Result, Row
from snnrun.tabular import csv_text


def show(result: Result, console: Console) -> None:
    """Print all tables."""
    _gradients(result, console)
    for title, rows, column, value in (
        ("Agreement, network as it is, by size of change", result.sizes, "size", lambda row: f"{row.size:g}"),
        ("Agreement by spike density", result.density, "hidden spikes", lambda row: f"{row.hidden_spikes:.2f}"),
    ):
        if rows:
            console.print()
            console.print(_agreement_table(title, rows, column, value))
    console.print()
    console.print(_steps_table(result))


def write_csv(result: Result, field: Landscape | None, folder: Path) -> list[Path]:
    """Write agreement.csv, gradients.csv, steps.csv, changes.csv (behind the scatter plot), landscape.csv.

    Raises:
        UserError: the folder cannot be written.
    """
    everything = [("size", row) for row in result.sizes] + [("density", row) for row in result.density]
    tables: dict[str, list[dict[str, Any]]] = {
        "agreement": [{"over": over, **_flat(row)} for over, row in everything],
        "gradients": [row._asdict() for row in result.compared],
        "steps": [row._asdict() for row in result.steps],
        "changes": list(_changes(result)),
    }
    if field is not None:
        tables["landscape"] = list(_landscape(field))
    paths = []
    for name, rows in tables.items():
        path = folder / f"{name}.csv"
        atomic.write(path, csv_text(rows).encode())
        paths.append(path)
    return paths


def _gradients(result: Result, console: Console) -> None:
    methods = list(dict.fromkeys(row.method for row in result.compared))
    columns = ("gradient", "norm", *(f"cosine with {name}" for name in methods))
    table = Table(*columns, box=None, pad_edge=False, title="Gradients", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in methods:
        own = [row for row in result.compared if row.method == name]
        table.add_row(name, f"{own[0].norm:.3g}", *(f"{row.cosine:.2f}" for row in own))
    console.print(table)


def _agreement_table(title: str, rows: Sequence[Row], column: str, value: Callable[[Row], str]) -> Table:
    methods = list(dict.fromkeys(row.method for row in rows))
    columns = ["probe", column, "unchanged", "change (rms)", "by rounding"]
    columns += [f"{name}: correlation" for name in methods]
    columns += [f"{name}: sign" for name in methods if name != SECANT]
    table = Table(*columns, box=None, pad_edge=False, title=title, title_justify="left")
    for each in table.columns[1:]:
        each.justify = "right"
    last = None
    for key, group in _grouped(rows).items():
        if last is not None and key[0] != last:
            table.add_row()
        last = key[0]
        one = next(iter(group.values()))
        cells = [one.probe, value(one), _percent(one.agreement.unchanged), f"{one.rms_change:.2g}"]
        cells.append(f"{one.noise:.1g}")
        cells += [_text(group[name].agreement.correlation) if name in group else "" for name in methods]
        cells += [_percent(group[name].agreement.sign.value) for name in methods if name != SECANT]
        table.add_row(*cells)
    return table


def _steps_table(result: Result) -> Table:
    methods = list(dict.fromkeys(row.method for row in result.steps))
    table = Table("size", *methods, box=None, pad_edge=False, title_justify="left")
    table.title = "Steps down the gradient: the loss falls by (%), mean ± standard error, and as predicted"
    for column in table.columns:
        column.justify = "right"
    for size in dict.fromkeys(row.size for row in result.steps):
        cells = [
            f"{100 * row.decrease:.1f}{_plus_minus(100 * row.error)} ({100 * row.predicted:.3g})"
            for row in result.steps
            if row.size == size
        ]
        table.add_row(f"{size:g}", *cells)
    return table


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, float, float | None], dict[str, Row]]:
    """Rows of all methods on the same probes."""
    groups: dict[tuple[str, float, float | None], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda row: row.probe):
        groups.setdefault((row.probe, row.size, row.rate), {})[row.method] = row
    return groups


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]" if math.isfinite(estimate.value) else "-"


def _plus_minus(error: float) -> str:
    return f" ± {error:.1f}" if math.isfinite(error) else ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if math.isfinite(share) else "-"


def _flat(row: Row) -> dict[str, Any]:
    flat = {name: value for name, value in row._asdict().items() if name != "agreement"}
    for name, value in row.agreement._asdict().items():
        if isinstance(value, Estimate):
            flat |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            flat[name] = value
    return flat


def _changes(result: Result) -> Iterable[dict[str, Any]]:
    sizes = sorted({row.size for row in result.sizes if row.probe == "all weights"})
    real, predicted = result.scatter
    for h, probe, backwards in np.ndindex(*real.shape):
        row = {"size": sizes[h], "direction": probe, "backwards": backwards, "real": real[h, probe, backwards]}
        yield row | {name: each[h, probe, backwards] for name, each in predicted.items()}


def _landscape(field: Landscape) -> Iterable[dict[str, Any]]:
    vectors: Mapping[str, np.ndarray] = {**field.fields, "real": field.real}
    for j, i in np.ndindex(len(field.at), len(field.at)):
        row: dict[str, Any] = {"weight0": field.at[i], "weight1": field.at[j]}
        for name, each in vectors.items():
            row |= {f"{name}_d0": each[j, i, 0], f"{name}_d1": each[j, i, 1]}
        yield row

"""The comparison that ends a sweep."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from snnrun.compare.cli import draw_into
from snnrun.compare.export import write_csv
from snnrun.compare.report import Comparison, compare_found
from snnrun.compare.runs import Found, find, short_path
from snnrun.compare.table import show, show_aside
from snnrun.tools import make_console


def end_sweep(folder: Path, compared: bool) -> Found:
    """Print the comparison of a sweep's jobs and a line for each that did not finish; leave CSV and plots in it.

    Args:
        compared: whether jobs are comparable at all; trials of a search, each with options of its own, are not.
    """
    found, console = find([folder], with_debug=True), make_console()
    if compared:
        _compare(found, folder, console)
    show_aside(found.aside, console, most=None)
    return found


def _compare(found: Found, folder: Path, console: Console) -> None:
    """A comparison that fails, be it by a full disk or by a bug, costs a warning: the jobs are what counts."""
    try:
        comparison = compare_found(found)
        show(Comparison(comparison.tables, [], comparison.notes), console)
        if comparison.tables:
            write_csv(comparison, folder / "comparison.csv")
            console.print(f"\ntable   {short_path(folder / 'comparison.csv')}", soft_wrap=True, markup=False)
            draw_into(comparison, folder / "comparison", console)
    except Exception as error:
        why = " ".join(str(error).split()) or repr(error)
        print(f"snnrun: warning: comparison: {why} (again: snnrun-compare {short_path(folder)})", file=sys.stderr)

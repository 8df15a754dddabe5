"""The comparison that ends a sweep."""

from __future__ import annotations

import sys
from pathlib import Path

from snnrun.compare.cli import draw_into
from snnrun.compare.export import write_csv
from snnrun.compare.report import Comparison, compare_found
from snnrun.compare.runs import Found, find, short_path
from snnrun.compare.table import show, show_aside
from snnrun.tools import make_console


def end_sweep(folder: Path) -> Found:
    """Print the comparison of a sweep's jobs and a line for each that did not finish; leave CSV and plots in it.

    A comparison that fails, be it by a full disk or by a bug, costs a warning: the jobs are what counts.
    """
    found = find([folder], with_debug=True)
    console = make_console()
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
    show_aside(found.aside, console, most=None)
    return found

"""``snnrun-compare``: tables, statistics and plots from what runs left on disk."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from snnrun.compare.export import write_csv, write_latex
from snnrun.compare.report import Comparison, compare, nothing_to_compare
from snnrun.compare.runs import short_path
from snnrun.compare.table import show, show_aside
from snnrun.errors import UserError
from snnrun.tools import ended, make_console


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 2 user error, 130 stopped."""
    return ended(lambda: _compare(list(sys.argv[1:] if argv is None else argv)))


def draw_into(comparison: Comparison, folder: Path, console: Console, along: str | None = None) -> None:
    """Draw the plots, and say where they are.

    Raises:
        UserError: the folder cannot be written.
    """
    from snnrun.compare.plots import draw  # matplotlib takes half a second

    try:
        paths, notes = draw(comparison, folder, along)
    except OSError as error:
        raise UserError(f"plots cannot be written to {folder} ({error.strerror})", "Choose another --out") from None
    for note in notes:
        console.print(note, soft_wrap=True, markup=False)
    if paths:
        names = ", ".join(dict.fromkeys(path.stem for path in paths))
        console.print(f"plots   {short_path(folder)}/ ({names}; png and svg)", soft_wrap=True, markup=False)


def _compare(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    console = make_console()
    by = [key.strip() for keys in options.by or () for key in keys.split(",") if key.strip()]
    comparison = compare(options.folders, by or None, options.baseline, options.along)
    if not comparison.tables:
        show_aside(comparison.aside, console)
        raise nothing_to_compare(comparison, options.folders)
    show(comparison, console)
    console.print()
    for path, write in ((options.csv, write_csv), (options.latex, write_latex)):
        if path is not None:
            write(comparison, path)
            console.print(
                f"{write.__name__.removeprefix('write_'):<7} {short_path(path)}", soft_wrap=True, markup=False
            )
    if options.plots:
        draw_into(comparison, options.out or _plot_folder(options.folders), console, options.along)
    return 0


def _plot_folder(folders: Sequence[Path]) -> Path:
    """Inside the one folder given, unless that is a run, whose folder is never written again."""
    inside = len(folders) == 1 and not (folders[0] / "summary.json").exists()
    return (folders[0] if inside else Path()) / "comparison"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snnrun-compare",
        description="Compare runs: a table of means over seeds, differences to a baseline with 95 % intervals, plots.",
        epilog="Nothing is trained, no network is needed: it reads what runs left on disk.",
    )
    parser.error = _usage_error  # type: ignore[method-assign]
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="DIR", help="runs, sweeps, or folders that hold some")
    add("--by", action="append", metavar="KEY,...", help="what to group by: method, loss, model, or any key of the "
        "config like optimizer.lr (default: method, dataset, and what a sweep varied)")  # fmt: skip
    add("--along", metavar="KEY", help="an option of numbers that moves each method along a curve of accuracy against "
        "spikes, like loss.rate_weight: adds it to --by and draws trade_off.png")  # fmt: skip
    add("--baseline", metavar="GROUP", help="what the others are compared with, as NAME or KEY=VALUE "
        "(default: activation, else the first group)")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="where plots go (default: comparison/ inside a single DIR, else here)")
    add("--csv", type=Path, metavar="FILE", help="write all numbers")
    add("--latex", type=Path, metavar="FILE", help="write the table for a paper (booktabs)")
    add("--no-plots", dest="plots", action="store_false", help="print only")
    return parser


def _usage_error(message: str) -> NoReturn:
    raise UserError(message, "snnrun-compare --help shows how to call it")


if __name__ == "__main__":
    sys.exit(main())

"""A comparison as files: CSV with everything, LaTeX for a paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snnrun.compare.groups import shown
from snnrun.compare.report import Comparison, Row, Table
from snnrun.compare.statistics import Difference, Estimate
from snnrun.compare.table import cells, fitted, key_names, title
from snnrun.errors import UserError
from snnrun.tabular import csv_text

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def write_csv(comparison: Comparison, path: Path) -> None:
    """A line per group: what it is, runs, and of each metric mean, deviation, and difference to the baseline.

    Values are in the units of summary.json (accuracies as shares). Nothing in it depends on when or where it is made.

    Raises:
        UserError: the file cannot be written.
    """
    lines = [dict(_csv_line(table, row)) for table in comparison.tables for row in table.rows]
    _write(path, csv_text(lines))


def write_latex(comparison: Comparison, path: Path) -> None:
    r"""A booktabs table per data set; the best by more than noise is bold.

    Raises:
        UserError: the file cannot be written.
    """
    _write(path, "\n".join(_latex_table(table) for table in comparison.tables))


def _csv_line(table: Table, row: Row) -> Iterator[tuple[str, Any]]:
    yield from row.group.key.items()
    yield from {"dataset": table.block.dataset, "runs": row.n}.items()
    yield "seeds", " ".join(map(str, sorted({run.facts["seed"] for run in row.group.runs.values()})))
    yield "baseline", row.baseline.label if row.baseline and row.differences else None
    for metric in table.metrics:
        key = metric.key
        found = row.estimates[key] or Estimate(float("nan"), None, 0)
        yield f"{key}_mean", found.mean if found.n else None
        yield f"{key}_sd", found.sd
        gap = row.differences.get(key) or Difference(float("nan"), None, None, False, False, (0, 0))
        yield f"{key}_diff", gap.mean if any(gap.n) else None
        yield f"{key}_diff_low", gap.low
        yield f"{key}_diff_high", gap.high
        yield f"{key}_beyond_noise", int(gap.beyond_noise) if gap.low is not None else None
        yield f"{key}_paired", int(gap.paired) if any(gap.n) else None
        yield f"{key}_best", int(key in row.best)


def _latex_table(table: Table) -> str:
    names = key_names(table)
    metrics = [fitted(metric, [row.estimates[metric.key] for row in table.rows]) for metric in table.metrics]
    heads = [f"{metric.name} ({metric.unit})" if metric.unit else metric.name for metric in metrics]
    heads = [*(name.rpartition(".")[2] for name in names), f"{table.block.unit}s", *heads]
    columns = [cells(table, metric) for metric in metrics]
    lines = [
        f"% {title(table)}; bold: best by more than noise (95 % interval of the difference to the runner-up)",
        rf"\begin{{tabular}}{{{'l' * len(names)}r{'r' * len(metrics)}}}",
        r"\toprule",
        " & ".join(map(_escaped, heads)) + r" \\",
        r"\midrule",
    ]
    for index, row in enumerate(table.rows):
        values = [_escaped(column[index]) for column in columns]
        values = [
            rf"\textbf{{{value}}}" if metric.key in row.best else value
            for value, metric in zip(values, metrics, strict=True)
        ]
        keys = [_escaped(shown(row.group.key[name])) for name in names]
        lines.append(" & ".join([*keys, str(row.n), *values]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})", "Choose another file") from None

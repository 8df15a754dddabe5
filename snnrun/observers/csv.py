"""metrics.csv: the rows of metrics.jsonl for spreadsheets and R."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snnrun.data.report import Reporter
from snnrun.observers.base import Observer, Outcome, Progress, Row, RunInfo
from snnrun.observers.logger import Logger
from snnrun.registry import register


@register("logger", "csv")
@dataclass
class CsvLogger(Logger):
    """Write metrics.csv beside metrics.jsonl."""

    def observers(self, report: Reporter) -> Sequence[Observer]:
        return (CsvObserver(),)


class CsvObserver:
    """Writes metrics.csv row by row, under one header; what a row does not have is an empty cell."""

    def start(self, run: RunInfo) -> None:
        self.path = Path(run.run_dir) / "metrics.csv"
        self.header: list[str] = []
        self.path.unlink(missing_ok=True)
        for row in run.past:
            self.row(row)

    def step(self, progress: Progress) -> None:
        pass

    def row(self, row: Row) -> None:
        if not self.header:
            self.header = _header(row)
        cells = {key: value for key, value in row.items() if value is not None and math.isfinite(value)}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.header)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(cells)

    def finish(self, outcome: Outcome) -> None:
        pass


def _header(first: Row) -> list[str]:
    """All columns of a run, known from its first row: the test measures what validation does."""
    test = [f"test/{key.removeprefix('val/')}" for key in first if key.startswith("val/")]
    return [*first, *test]

"""The console: an overview, live progress, one line per epoch, and a final table (rich)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from snnrun.metrics import higher_is_better
from snnrun.observers import overview
from snnrun.observers.base import Outcome, Progress, Row, RunInfo
from snnrun.observers.results import result_rows

log = logging.getLogger("snnrun")

_SILENT = 0.9  # share of silent neurons from which a layer is pointed out
_PIPE_WIDTH = 10_000  # a file or pipe has no width at which to break lines


class ConsoleObserver:
    """Shows a run; also the :class:`snnrun.data.Reporter` of slow data work.

    Args:
        console: where to; by default stdout, plain lines without control codes if that is no terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=False)
        self.live = self.console.is_terminal
        if not self.live:
            self.console.width = _PIPE_WIDTH
        self._bar: Bar | None = None
        self._task = None
        self._best: float | None = None

    # --- Reporter

    def note(self, text: str) -> None:
        """Show one line, and log it."""
        log.info("%s", text)
        self._print(Text(text, style="yellow"))

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Progress of a slow task; on a pipe, a line at its start and at its end."""
        if not self.live:
            self._print(Text(f"{what} ({total:,} {unit}) ..."))
            yield lambda amount: None
            self._print(Text(f"{what}: done"))
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(what, total=total or None)
            yield lambda amount: bar.advance(task, amount)

    # --- Observer

    def start(self, run: RunInfo) -> None:
        self._run = run
        self._print(overview.of_run(run))
        for name, layer in overview.spiking_layers(run):
            if layer.silent is not None and layer.silent >= _SILENT:
                self.note(
                    f"{name} ({layer.token}): {layer.silent:.0%} of its neurons are silent on the first batch. "
                    "A spike that does not exist cannot be moved: try model.init=calibrate or model.shift=0.05"
                )
        if run.mode == "train":
            self._print(Text(_epoch_header(), style="bold"))
        if self.live and run.mode == "train":
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TimeRemainingColumn(compact=True),
            )
            self._bar = Bar(*columns, console=self.console, transient=True, expand=True)
            self._bar.start()
            self._bar_task = self._bar.add_task("", total=run.steps)

    def step(self, progress: Progress) -> None:
        if self._bar is None:
            return
        parts = [
            f"epoch {progress.epoch}/{progress.epochs}",
            f"loss {progress.loss:.3f}",
            f"acc {_percent(progress.acc)}",
            f"{progress.spikes:.0f} spikes",
            f"{progress.samples_per_s:.0f}/s",
        ]
        self._bar.update(self._bar_task, completed=progress.step, description="  ".join(parts))

    def row(self, row: Row) -> None:
        if "train/loss" not in row:
            return
        value = row.get(self._run.monitor)
        sign = 1 if higher_is_better(self._run.monitor) else -1
        best = value is not None and (self._best is None or sign * value > sign * self._best)
        self._best = value if best else self._best
        line = _epoch_line(row, best)
        log.info("%s", line)
        self._print(Text(line, style="green" if best else ""))

    def finish(self, outcome: Outcome) -> None:
        self.close()
        summary = outcome.summary
        if summary["status"] == "finished":
            self._print(self._results(outcome))
        else:
            self._print(Text(f"run {summary['status']}: {summary['error']}", style="bold red"))
        self._print(Text(f"files   {overview.short_path(summary['run_dir'])}"))
        for line in outcome.closing:
            self._print(Text(line))

    def close(self) -> None:
        """Take the live bar off the screen; safe to call at any time."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    # --- parts

    def _results(self, outcome: Outcome) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False, title_justify="left", title_style="bold")
        table.add_column(style="bold", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(style="dim")
        table.title = f"\ntest: {self._run.method}, {self._run.loss} loss, on {self._run.dataset}"
        for name, value, meaning in result_rows(outcome.summary):
            table.add_row(name, value, meaning)
        return table

    def _print(self, what: Text | Table) -> None:
        if self.live:
            self.console.print(what)
            return
        with self.console.capture() as captured:  # plain lines for files and pipes: nothing padded or broken
            self.console.print(what)
        for line in captured.get().splitlines():
            self.console.print(line.rstrip(), markup=False, soft_wrap=True)


_COLUMNS = (
    ("epoch", 5),
    ("loss", 8),
    ("train acc", 9),
    ("val acc", 7),
    ("spikes", 8),
    ("to dec.", 8),
    ("latency", 7),
    ("lr", 8),
    ("time", 6),
)


def _epoch_header() -> str:
    return " ".join(f"{name:>{width}}" for name, width in _COLUMNS)


def _epoch_line(row: Row, best: bool) -> str:
    values = (
        str(row["epoch"]),
        _number(row["train/loss"], ".4f"),
        _percent(row["train/acc"]),
        _percent(row["val/acc"]),
        _number(row["val/spikes"], ".1f"),
        _number(row["val/spikes_to_decision"], ".1f"),
        _number(row["val/latency"], ".1f"),
        _number(row["lr"], ".2g"),
        _number(row["time/epoch_s"], ".1f") + "s",
    )
    cells = " ".join(f"{value:>{width}}" for value, (_, width) in zip(values, _COLUMNS, strict=True))
    return cells + (" *" if best else "")


def _percent(value: float | int | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _number(value: float | int | None, form: str) -> str:
    return "-" if value is None else format(value, form)

"""The console: an overview, live progress, one line per epoch, and a final table (rich)."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from snnrun.metrics import rank
from snnrun.observers import overview
from snnrun.observers.base import Outcome, Progress, Row, RunInfo
from snnrun.observers.results import result_rows

log = logging.getLogger("snnrun")

_SILENT = 0.9  # share of silent neurons from which a layer is pointed out
_PIPE_WIDTH = 10_000  # a file or pipe has no width at which to break lines
_REFRESH_S = 0.1


class ConsoleObserver:
    """Shows a run; also the :class:`snnrun.data.Reporter` of slow data work.

    Args:
        console: where to; by default stdout, plain lines without control codes if that is no terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        if not self.console.is_terminal:
            self.console.width = _PIPE_WIDTH
        self.star = "★" if self.console.encoding.lower().startswith("utf") and self.console.is_terminal else "*"
        self._bar: _LiveBar | None = None
        self._best: Row | None = None
        self._epoch = 0

    # --- Reporter

    def note(self, text: str) -> None:
        """Show one line."""
        self._print(Text(text, style="yellow"))

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Progress of a slow task; on a pipe, a line at its start and at its end."""
        if not self.live:
            size = f"{total / 1e6:,.1f} MB" if unit == "B" else f"{total:,} {unit}"
            self._print(Text(f"{what} ({size}) ..." if total else f"{what} ..."))
            started = time.perf_counter()
            yield lambda amount: None
            self._print(Text(f"{what}: done in {time.perf_counter() - started:.1f} s"))
            return
        bar = _LiveBar(self.console, total, DownloadColumn() if unit == "B" else MofNCompleteColumn())
        try:
            yield lambda amount: bar.show(bar.done + amount, what)
        finally:
            bar.close()

    # --- Observer

    def start(self, run: RunInfo) -> None:
        self._run = run
        self._print(overview.of_run(run))
        if run.mode != "train":
            return
        for row in run.past:
            self._best = row if self._is_best(row) else self._best
        layers = overview.spiking_layers(run)
        silent = [f"{name} {layer.silent:.0%}" for name, layer in layers if (layer.silent or 0.0) >= _SILENT]
        if run.resumed_at is not None:
            self.note(f"goes on after step {run.resumed_at:,} of {run.steps:,}")
        elif silent:
            self.note(
                f"silent neurons at the start: {', '.join(silent)}. Spikes that do not exist cannot be moved; "
                "if this does not learn, try model.init=calibrate, or model.shift=0.05"
            )
        self._columns = _columns(run.monitor)
        self._print(Text(""))
        for line in _header(self._columns):
            self._print(Text(line, style="bold"))
        if self.live:
            self._bar = _LiveBar(self.console, run.steps)

    def step(self, progress: Progress) -> None:
        self._epoch = progress.epoch
        if self._bar is None or not self._bar.is_due():
            return
        wide = self.console.width >= 100
        parts = [
            f"epoch {progress.epoch}/{progress.epochs}",
            f"loss {progress.loss:.3f}",
            *([] if progress.acc is None else [f"acc {_percent(progress.acc)}"]),
            f"{progress.spikes:,.0f} spikes{'/sample' if wide else ''}",
            f"{progress.samples_per_s:,.0f}{' samples' if wide else ''}/s",
        ]
        self._bar.show(progress.step, "  ".join(parts))

    def row(self, row: Row) -> None:
        if "train/loss" not in row:
            return
        best = self._is_best(row)
        self._best = row if best else self._best
        line = "".join(f"{column.show(row):>{column.width}}" for column in self._columns)
        self._print(Text(f"{line} {self.star}" if best else line, style="green" if best else ""))

    def finish(self, outcome: Outcome) -> None:
        self.close()
        summary = outcome.summary
        if summary["status"] == "finished":
            self._print(self._results(outcome))
            self._print(Text(""))
        else:
            self._print(Text(self._status(outcome), style="bold red"))
        if summary.get("best_epoch"):
            best = f"epoch {summary['best_epoch']} of {summary['epochs']}{self._best_value()}"
            self._print(Text(f"best    {best} ({self.star} marks a new best)"))
        for line in (f"files   {overview.short_path(summary['run_dir'])}", *outcome.closing):
            # not broken by us at the width: what is copied from here must be one line
            log.info("%s", line)
            self.console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        """Take the live bar off the screen; safe to call at any time."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    # --- parts

    def _results(self, outcome: Outcome) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False, title_justify="left", title_style="bold")
        table.add_column(style="bold", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(style="dim")
        table.title = Text(f"\ntest: {self._run.method}, {self._run.loss} loss, on {self._run.dataset}", style="bold")
        for name, value, meaning in result_rows(outcome.summary):
            table.add_row(name, value, meaning, style="green" if name == "acc" else "")
        return table

    def _status(self, outcome: Outcome) -> str:
        where = f" in epoch {self._epoch} of {self._run.epochs}" if self._epoch else ""
        return f"run {outcome.summary['status']}{where}: {outcome.summary['error']}"

    def _is_best(self, row: Row) -> bool:
        monitor = self._run.monitor
        return row.get(monitor) is not None and (self._best is None or rank(row, monitor) > rank(self._best, monitor))

    def _best_value(self) -> str:
        monitor = self._run.monitor
        value = None if self._best is None else self._best.get(monitor)
        if value is None:
            return ""
        return f", {monitor} {_percent(value) if '/acc' in monitor else format(value, '.4g')}"

    def _print(self, what: Text | Table) -> None:
        lines = _plain_lines(what)
        for line in lines:
            log.info("%s", line)
        if self.console.is_terminal:
            self.console.print(what)
            return
        for line in lines:  # files and pipes: nothing padded or broken
            self.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _plain_lines(what: Text | Table) -> list[str]:
    """Without colours, padding and breaks."""
    plain = Console(file=io.StringIO(), width=_PIPE_WIDTH, color_system=None, highlight=False)
    with plain.capture() as captured:
        plain.print(what)
    return [line.rstrip() for line in captured.get().splitlines()]


class _LiveBar:
    """One line at the bottom of a terminal, gone once closed.

    It draws when told to, not from a thread of its own: data workers are forked, and a fork while a thread holds the
    console's lock would hang.
    """

    def __init__(self, console: Console, total: int, *extra: MofNCompleteColumn | DownloadColumn) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), *extra)
        left = TextColumn("{task.fields[left]}", justify="right")
        self._bar = Bar(*columns, left, console=console, transient=True, expand=True, auto_refresh=False)
        self._task = self._bar.add_task("", total=total or None, left="", visible=False)
        self._total = total
        self._started = time.perf_counter()
        self._drawn = 0.0
        self.done = 0
        self._bar.start()

    def is_due(self) -> bool:
        """Whether the last drawing is old enough for another one."""
        return time.perf_counter() - self._drawn >= _REFRESH_S

    def show(self, done: int, text: str) -> None:
        self.done = done
        if not self.is_due():
            return
        self._drawn = time.perf_counter()
        self._bar.update(self._task, completed=done, description=text, left=self._left(), visible=True)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.stop()

    def _left(self) -> str:
        """Time left at the mean pace so far, which includes validation."""
        if not (self.done and self._total):
            return ""
        seconds = (self._total - self.done) / self.done * (self._drawn - self._started)
        minutes, seconds = divmod(max(0, round(seconds)), 60)
        hours, minutes = divmod(minutes, 60)
        return (f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}") + " left"


class _Column(NamedTuple):
    """A column of the epoch lines: what it shows of a row, and how."""

    group: str
    name: str
    width: int
    key: str
    form: Callable[[float], str]

    def show(self, row: Row) -> str:
        value = row.get(self.key)
        return "-" if value is None else self.form(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _columns(monitor: str) -> list[_Column]:
    """Columns for lines of at most 80 characters; a monitor that has none of its own takes the place of lr."""
    tenth, short = "{:,.1f}".format, "{:.2g}".format
    columns = [
        _Column("", "epoch", 5, "epoch", "{:d}".format),
        _Column("train", "loss", 9, "train/loss", "{:.4f}".format),
        _Column("train", "acc", 8, "train/acc", _percent),
        _Column("validation", "acc", 9, "val/acc", _percent),
        _Column("validation", "spikes", 9, "val/spikes", tenth),
        _Column("validation", "to decision", 13, "val/spikes_to_decision", tenth),
        _Column("validation", "latency", 9, "val/latency", tenth),
        _Column("", "lr", 8, "lr", short),
        _Column("", "s", 7, "time/epoch_s", tenth),
    ]
    if monitor not in [column.key for column in columns]:
        name = monitor.partition("/")[2]
        columns[-2] = _Column("", name[-20:], max(8, len(name[-20:]) + 2), monitor, "{:.4g}".format)
    return columns


def _header(columns: list[_Column]) -> list[str]:
    """Two lines: the split that a group of columns is measured on, and what they are."""
    groups, previous = "", ""
    for column in columns:
        if column.group and column.group != previous:
            start = sum(each.width for each in columns[: columns.index(column)])
            groups = groups.ljust(start + column.width - len(column.name)) + column.group
        previous = column.group
    return [groups, "".join(f"{column.name:>{column.width}}" for column in columns)]

"""Observers of a run: console, files, plots, Weights & Biases. They see events and never change the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from snnrun.errors import Interrupted
from snnrun.observers.base import Evidence, LayerInfo, Observer, Outcome, Progress, Raster, Row, RunInfo
from snnrun.observers.console import ConsoleObserver
from snnrun.observers.csv import CsvLogger
from snnrun.observers.files import FilesObserver, write_summary
from snnrun.observers.logger import Logger, NoLogger
from snnrun.observers.plots import PlotsObserver
from snnrun.observers.wandb import WandbLogger, WandbObserver


@dataclass
class Observers:
    """Several observers as one, called in order."""

    observers: Sequence[Observer]

    def start(self, run: RunInfo) -> None:
        for observer in self.observers:
            observer.start(run)

    def step(self, progress: Progress) -> None:
        for observer in self.observers:
            observer.step(progress)

    def row(self, row: Row) -> None:
        for observer in self.observers:
            observer.row(row)

    def finish(self, outcome: Outcome) -> None:
        """Everyone gets to finish, so that a full disk does not leave the live bar on the screen.

        After an error, the others are told of a failed run: nobody calls finished what is not on disk.

        Raises:
            the first error that an observer raised.
        """
        errors: list[Exception] = []
        for observer in self.observers:
            try:
                observer.finish(outcome)
            except Exception as error:
                errors.append(error)
                if not isinstance(error, Interrupted):  # a signal takes nothing back
                    outcome = replace(outcome, summary={**outcome.summary, "status": "failed", "error": str(error)})
        if errors:
            raise errors[0]


def build_observers(logger: Logger, console: ConsoleObserver) -> Observers:
    """Everyone who watches a run, each after those whose work it shows on: plots, files, the logger, the console."""
    return Observers([PlotsObserver(console), FilesObserver(), *logger.observers(console), console])


__all__ = [
    "ConsoleObserver",
    "CsvLogger",
    "Evidence",
    "FilesObserver",
    "LayerInfo",
    "Logger",
    "NoLogger",
    "Observer",
    "Observers",
    "Outcome",
    "PlotsObserver",
    "Progress",
    "Raster",
    "Row",
    "RunInfo",
    "WandbLogger",
    "WandbObserver",
    "build_observers",
    "write_summary",
]

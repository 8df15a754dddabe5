"""What ``logger=NAME`` chooses: who hears of a run beside the console and the run's own files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from snnrun.data.report import Reporter
from snnrun.observers.base import Observer
from snnrun.registry import register


@dataclass
class Logger:
    """Base of loggers; a subclass with observers and a registered name is a complete one."""

    name: ClassVar[str]

    def observers(self, report: Reporter) -> Sequence[Observer]:
        """Who watches one run; ``report`` shows what the user should know."""
        raise NotImplementedError(f"{type(self).__name__} needs observers")


@register("logger", "none")
@dataclass
class NoLogger(Logger):
    """Log to the console and the run's folder only."""

    def observers(self, report: Reporter) -> Sequence[Observer]:
        return ()

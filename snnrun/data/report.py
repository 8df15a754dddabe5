"""How slow data work (download, packing) tells what it does, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Reporter(Protocol):
    """Somebody who shows notes and progress; the console observer is one."""

    def note(self, text: str) -> None:
        """Show one line."""

    def progress(self, what: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        """Show progress of a task of ``total`` units; the context gives a function that advances it."""


class Quiet:
    """A reporter that shows nothing."""

    def note(self, text: str) -> None:
        pass

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        yield lambda amount: None

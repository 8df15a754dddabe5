"""Processes that prepare batches: they leave it to the training process when to stop, and end silently with it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from snnrun.stop import SIGNALS, preemption_signal


@contextmanager
def deaf_to_stopping() -> Iterator[None]:
    """Processes that begin inside the block never hear a signal to stop.

    A terminal, timeout(1) or SLURM sends it to all processes of a run, of which this one alone decides when to stop:
    it may want the batch that a worker is at. Workers end by themselves when this process does.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*SIGNALS, preemption_signal()})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def say_nothing_when_it_is_gone(worker: int) -> None:
    """In a worker: that the training process was killed while it fetched a batch is no news to the user."""
    sys.excepthook = _unless_connection_lost


def _unless_connection_lost(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """For :data:`sys.excepthook`, which the thread of a worker that hands over batches calls."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, traceback)

"""Processes that prepare batches: they leave it to the training process when to stop, and end silently with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from snnrun.stop import SIGNALS, preemption_signal


@contextmanager
def deaf_to_stopping() -> Iterator[None]:
    """Processes that begin inside the block do not act on a signal to stop.

    A terminal, timeout(1) or SLURM sends it to all processes of a run, of which this one alone decides when to stop:
    it may want the batch that a worker is at.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*SIGNALS, preemption_signal()})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare(worker: int) -> None:
    """In a worker: end by SIGTERM only if it is the training process that sends it, as Python does at its exit.

    That the training process was killed while it fetched a batch is no news to the user.
    """
    sys.excepthook = _unless_connection_lost
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=_end_when_told, args=(os.getppid(),), daemon=True).start()
    else:  # nobody can tell who sent it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_when_told(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _unless_connection_lost(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """For :data:`sys.excepthook`, which the thread of a worker that hands over batches calls."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, traceback)

"""Stopping on Ctrl-C and SIGTERM: a flag where a step can be finished first, at once elsewhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from snnrun.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Remembers a stop signal while training; anywhere else, and at the second signal, it raises at once."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._deferring = False

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Handle stop signals inside the block; does nothing outside the main thread, where Python allows none."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        previous = {signum: signal.signal(signum, self._handle) for signum in SIGNALS}
        try:
            yield self
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside the block, the first signal only sets the flag; the block looks at it by :meth:`requested`."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    @property
    def requested(self) -> bool:
        """Whether a signal asked to stop."""
        return self.signum is not None

    def raise_interrupted(self) -> None:
        """Raise :class:`Interrupted` for the signal that was remembered."""
        assert self.signum is not None
        raise Interrupted(self.signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        first = self.signum is None
        self.signum = self.signum if self.signum is not None else signum
        if not (first and self._deferring):
            self.raise_interrupted()

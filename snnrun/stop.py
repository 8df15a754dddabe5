"""Stopping on signals: a flag where a step can be finished and saved first, at once elsewhere."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from snnrun.distributed import FailedElsewhere, World
from snnrun.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Remembers a stop signal while training; anywhere else, and at the second signal, it acts at once.

    Where a launcher listens for its own signals already (submitit: SIGUSR2 for preemption, SIGTERM to be ignored), the
    run is saved first, and what follows is the launcher's: its handler is called, and decides whether to go on.

    Of several processes, all stop where one is told to. There the first signal is the only one that counts: torchrun
    and SLURM both pass on the same one, and make an end themselves of who takes too long.
    """

    def __init__(self, world: World | None = None) -> None:
        self.handing_on = False  # a launcher's handler is at work, and what it raises is no failure of the run
        self._world = world or World()
        self._heard = False
        self._pending: list[int] = []
        self._deferring = False
        self._handed_on: dict[int, Callable[[int, FrameType | None], Any]] = {}

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Handle stop signals inside the block; does nothing outside the main thread, where Python allows none."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        previous: dict[int, Any] = {}
        for signum in {*SIGNALS, preemption_signal()}:
            handler = signal.getsignal(signum)
            if signum != signal.SIGINT and callable(handler):
                self._handed_on[signum] = handler
            elif signum not in SIGNALS and self._world.size == 1:
                continue  # nobody asked for it: what it does by default is left alone
            previous[signum] = signal.signal(signum, self._handle)
        try:
            yield self
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)
            self._handed_on.clear()

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
        """Whether a signal waits for :meth:`obey`."""
        return bool(self._pending)

    def agree(self) -> bool:
        """Let a signal that any process of the run has heard count for all; whether there is one."""
        told = self._world.most(self._pending[-1] if self._pending else 0)
        if told and told not in self._pending:
            self._pending.append(told)
        return self.requested

    def ending(self) -> None:
        """The run ends by itself; what torchrun sends to those that a failed process leaves behind comes too late."""
        self._heard = True

    def obey(self) -> None:
        """Do what the signals that came ask for, now that the run is saved.

        Raises:
            FailedElsewhere: another process of the run has failed.
            Interrupted: unless all are a launcher's; its handler may raise what it likes, or return, and then the run
                goes on.
        """
        while self._pending:
            signum = self._pending[0]
            if signum not in self._handed_on:
                if failure := self._world.failure():  # why torchrun is ending this process, too
                    raise FailedElsewhere(failure)
                # it stays pending: Python drops what is raised inside a callback, and then the next step obeys
                raise Interrupted(signum)
            del self._pending[0]
            self.handing_on = True
            self._handed_on[signum](signum, None)
            self.handing_on = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._world.size > 1 and self._heard:
            return
        self._heard = True
        again = self.requested and signum not in self._handed_on
        if signum not in self._pending:
            self._pending.append(signum)
        if again or not self._deferring:
            self.obey()


def preemption_signal() -> int:
    """SIGUSR2, or what submitit was told to use instead."""
    name = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")
    return getattr(signal, f"SIG{name}", signal.SIGUSR2)

"""Stopping a sweep whose jobs are other processes: tell them once, wait until they have saved, leave nobody behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from snnrun.rundir import read_summary
from snnrun.stop import SIGNALS

_GRACE_S = 30.0
_SETTLE_S = 0.3  # a job that is about to begin shows up within this


@contextmanager
def stopping(folder: Path, launcher: str) -> Iterator[None]:
    """Inside the block a stop signal ends the sweep in ``folder`` and raises ``SystemExit(128 + signal)``.

    While a job runs in this process, it hears signals itself. A second signal does not wait.

    Args:
        launcher: its class; jobs of the basic launcher run in this process, those of SLURM are cancelled.
    """
    elsewhere = not launcher.endswith("BasicLauncher")
    seen: list[int] = []

    def handle(signum: int, frame: FrameType | None) -> None:
        seen.append(signum)
        if elsewhere and len(seen) == 1:
            print("snnrun: stopping; jobs finish their step and save (again: at once)", file=sys.stderr, flush=True)
            if launcher.endswith("SlurmLauncher"):
                _cancel(folder)
            _tell_jobs(folder, signum)
        raise SystemExit(128 + signum)

    previous = {signum: signal.signal(signum, handle) for signum in SIGNALS}
    try:
        yield
    finally:
        if seen and elsewhere:
            _end(descendants(os.getpid()))
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and theirs, deepest last."""
    children: dict[int, list[int]] = {}
    for child, parent in _processes():
        children.setdefault(parent, []).append(child)
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _tell_jobs(folder: Path, signum: int) -> None:
    """Pass the signal to every running job of ours, and wait until none is left."""
    told: set[int] = set()
    quiet_since, deadline = time.monotonic(), time.monotonic() + _GRACE_S
    while time.monotonic() < deadline and time.monotonic() - quiet_since < _SETTLE_S:
        ours = set(descendants(os.getpid()))
        for path in folder.glob("*/summary.json"):
            content = read_summary(path.parent)
            pid = content.get("pid")
            if content.get("status") == "running" and pid in ours:
                quiet_since = time.monotonic()
                if pid not in told:
                    told.add(pid)
                    with suppress(ProcessLookupError):
                        os.kill(pid, signum)
        time.sleep(0.05)


def _end(pids: list[int]) -> None:
    for signum, wait_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
        deadline = time.monotonic() + wait_s
        while (alive := set(pids) & set(descendants(os.getpid()))) and time.monotonic() < deadline:
            time.sleep(0.05)
        pids = sorted(alive)


def _cancel(folder: Path) -> None:
    """Cancel the SLURM jobs of a sweep; their folders have their numbers."""
    numbers = [path.name for path in (folder / ".submitit").glob("*") if path.name[:1].isdigit()]
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["scancel", *numbers], check=False, timeout=60)


def _processes() -> Iterator[tuple[int, int]]:
    """(process, parent) of everything that runs; zombies are left out."""
    if Path("/proc/self/stat").exists():
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, parent = path.read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    yield int(path.parent.name), int(parent)
        return
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=False)
    for line in listed.stdout.splitlines():
        pid, parent, state = line.split()[:3]
        if not state.startswith("Z"):
            yield int(pid), int(parent)

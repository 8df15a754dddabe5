"""What a run was made with, and its log."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from snnrun import __version__, atomic

log = logging.getLogger("snnrun")


def available_cores(processes: int = 1) -> int:
    """Cores that this process may use; OMP_NUM_THREADS, where the user has set it, is the user's word on that.

    Args:
        processes: so many share the machine. torchrun then sets OMP_NUM_THREADS to 1 where the user has not.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > (processes > 1):
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes)


def versions() -> dict[str, str | None]:
    """Versions of what decides numbers."""
    import numpy

    return {
        "snnrun": __version__,
        "commit": _git_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def _git_commit() -> str | None:
    """The commit of the checkout this package runs from, with a + where files differ from it."""
    package = Path(__file__).resolve().parent
    if not (package.parent / ".git").exists():
        return None
    git = ("git", "-C", str(package.parent))
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=5)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (commit.stdout.strip() + ("+" if dirty.stdout.strip() else "")) or None


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Send the log of this run to a file."""
    with atomic.told(path):
        handler = _LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    previous, log.level = log.level, logging.INFO
    propagate, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = previous, propagate
        with suppress(OSError):
            handler.close()


class _LogFile(logging.FileHandler):
    """A log that cannot be written costs lines of it, nothing else; those who write more important files tell."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is logging's
        pass

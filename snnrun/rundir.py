"""What a run left in its folder, and whether its process is still at work there."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from snnrun import atomic
from snnrun.errors import OutputError, UserError

LAST, BEST = "checkpoints/last.pt", "checkpoints/best.pt"
_FILES = ("summary.json", "config.yaml", "metrics.jsonl", "test_curve.json", "snnrun.log")
_FOLDERS = ("checkpoints", "plots", "wandb")


def read_summary(run_dir: Path) -> dict[str, Any]:
    """A run's summary.json; empty where there is none to read."""
    try:
        content = json.loads((run_dir / "summary.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def status(run_dir: Path) -> str:
    """What became of a run: finished, failed, interrupted, running, or "" where there is none.

    A run that says running while its process is gone was interrupted. Of a process on another machine nothing can be
    known; it counts as running.
    """
    summary = read_summary(run_dir)
    said = str(summary.get("status") or "")
    if said == "running" and not _is_alive(summary):
        return "interrupted"
    if not said and (run_dir / LAST).exists():
        return "interrupted"
    return said


def this_process() -> dict[str, Any]:
    """What summary.json says about the process of a run, so that others can tell whether it is still there."""
    pid = os.getpid()
    return {
        "pid": pid,
        "pid_started": _started(pid),
        "host": socket.gethostname(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def refuse_job(sweep_dir: Path, job: int, why: str) -> None:
    """Record beside the jobs of a sweep that one was left alone; its folder is not the sweep's to write."""
    with suppress(OutputError):
        atomic.write(sweep_dir / f"refused_{job}.txt", f"{why}\n".encode())


def forget_refused(sweep_dir: Path) -> None:
    """What an earlier call of the same sweep had to leave alone may be free now."""
    for path in sweep_dir.glob("refused_*.txt"):
        path.unlink(missing_ok=True)


def any_refused(sweep_dir: Path) -> bool:
    """Whether a job of the sweep was left alone."""
    return any(sweep_dir.glob("refused_*.txt"))


def claim(folder: Path) -> None:
    """Make the folder of a new run, or of a sweep; what a run left that did not come to its first step is removed.

    Raises:
        UserError: it cannot be made, or holds a run already.
    """
    there = status(folder)
    if there and not (there in ("failed", "interrupted") and not (folder / LAST).exists()):
        a = "an" if there[0] in "aeiou" else "a"
        hint = f"Go on with it by resume={folder}, or choose" if there == "interrupted" else "Choose"
        raise UserError(f"{folder} holds {a} {there} run", f"{hint} another hydra.run.dir")
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UserError(f"{folder} cannot be made: {existing} is a file", "Choose another hydra.run.dir")
    try:
        if there:
            clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror})", "Choose another hydra.run.dir") from None


def prepare(run_dir: Path) -> None:
    """Make what a run writes into."""
    (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)


def clear(run_dir: Path) -> None:
    """Remove everything that a run wrote; other files in its folder, Hydra's included, stay."""
    for name in _FILES:
        (run_dir / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        if (run_dir / name).is_dir():
            shutil.rmtree(run_dir / name)
    remove_leftovers(run_dir)


def remove_leftovers(run_dir: Path) -> None:
    """Remove what a process that was killed while writing did not come to rename."""
    for leftover in (*run_dir.glob("*.tmp"), *run_dir.glob("checkpoints/*.tmp")):
        leftover.unlink(missing_ok=True)


def whole_rows(run_dir: Path) -> int:
    """Complete rows of epochs in metrics.jsonl; a killed process may leave a part of one at the end."""
    try:
        text = (run_dir / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return sum('"train/loss"' in line for line in text.splitlines(keepends=True) if line.endswith("}\n"))


def _is_alive(summary: Mapping[str, Any]) -> bool:
    pid, job = summary.get("pid"), summary.get("slurm_job")
    if not isinstance(pid, int):
        return False
    if summary.get("host") != socket.gethostname():
        # SLURM starts a job again only once its processes are gone
        return job is None or job != os.environ.get("SLURM_JOB_ID")
    if pid == os.getpid():
        return False  # this process is about to look at it, so it does not run there
    return is_alive(pid, summary.get("pid_started"))


def is_alive(pid: int, pid_started: Any) -> bool:
    """Whether a process of this machine is at work, and is the one that was started then: numbers are given out again.

    Args:
        pid_started: what :func:`this_process` said; None where that is not known.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's process
    started = _started(pid)
    return started is None or (started >= 0 and pid_started in (None, started))


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; -1 for one that ended; None where that cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return -1 if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None

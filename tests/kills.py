"""Real runs, killed at random moments by real signals, until they are through."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from cli import environment, rows, summary, timeless

import snnrun as package
from snnrun.rundir import BEST, LAST, status

CODES = {
    signal.SIGINT: {130},
    signal.SIGTERM: {143, -signal.SIGTERM},  # the latter before anybody listens
    signal.SIGKILL: {-signal.SIGKILL},
}


class Killer:
    """Starts runs and kills them.

    Attributes:
        survived: kills so far, by signal, and of those "mid-write" (a half-written file was left) and "early" (before
            the first checkpoint).
    """

    def __init__(self, cwd: Path, seed: int) -> None:
        self.cwd = cwd
        self.survived: Counter[str] = Counter()
        self._random = random.Random(seed)

    def kill_until_finished(
        self, run_dir: Path, arguments: Sequence[str], signals: Sequence[int], within_s: float
    ) -> None:
        """One run, killed once by each signal at a random moment, then left alone to its end."""
        for signum in signals:
            self.kill(run_dir, arguments, signum, within_s)
        if status(run_dir) == "finished":
            return
        process = self.start(run_dir, arguments)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors

    def kill(self, run_dir: Path, arguments: Sequence[str], signum: int, within_s: float, when: str = "steps") -> bool:
        """Start, or go on, and kill.

        Args:
            within_s: seconds from the moment meant, drawn at random between 0 and this.
            when: "steps": from the first checkpoint of this process on; "write": in the middle of the write after it;
                "start": from half a second after the process's start; "first write": in the middle of its first write.

        Returns:
            Whether the run was still there to be killed.
        """
        if status(run_dir) == "finished":
            return False
        before, temporary = _stamp(run_dir / LAST), run_dir / f"{LAST}.tmp"
        process = self.start(run_dir, arguments)
        deadline = time.monotonic() + 120
        while when in ("steps", "write") and _stamp(run_dir / LAST) == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if when == "start":
            time.sleep(0.5)  # Python itself is starting, which nobody can do anything about
        time.sleep(self._random.uniform(0, within_s))
        while when in ("write", "first write") and not temporary.exists() and process.poll() is None:
            pass
        process.send_signal(signum)
        _, errors = process.communicate(timeout=120)
        if process.returncode == 0:
            return False
        assert process.returncode in CODES[signal.Signals(signum)], errors
        assert "Traceback" not in errors, errors
        self.survived[signal.Signals(signum).name] += 1
        self.survived["mid-write"] += temporary.exists()
        self.survived["early"] += not (run_dir / LAST).exists()
        return True

    def start(self, run_dir: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
        """The command that a user would give: go on where there is a checkpoint, else begin."""
        exists = (run_dir / LAST).exists()
        command = [f"resume={run_dir}"] if exists else [*arguments, f"hydra.run.dir={run_dir}"]
        return popen(*command, cwd=self.cwd)


def undisturbed(run_dir: Path, *overrides: str) -> dict[str, Any]:
    """Results of the same run, trained in this process and left alone."""
    threads = torch.get_num_threads()
    package.run([*overrides, "logger=none", f"hydra.run.dir={run_dir}"])
    torch.set_num_threads(threads)
    return results(run_dir)


def popen(*arguments: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "snnrun", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=environment(**env), stdout=pipe, stderr=pipe, text=True)


def results(run_dir: Path) -> dict[str, Any]:
    """What no interruption may change: rows and summary without times, and the best weights."""
    content = summary(run_dir)
    best = torch.load(run_dir / BEST, weights_only=True)
    return {
        "rows": [timeless(row) for row in rows(run_dir)],
        **{key: content[key] for key in ("status", "epochs", "best_epoch", "val", "test", "data")},
        "best": {name: weight.tolist() for name, weight in best["network"].items()} | {"epoch": best["epoch"]},
    }


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0

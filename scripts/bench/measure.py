"""Workers from the outside: asked one after the other, in rounds, so that noise of the machine falls on all alike."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .cases import Case


class WorkerFailed(Exception):
    """An implementation cannot do what it was asked; says why."""


class Worker:
    """A process that runs one implementation."""

    def __init__(self, impl: str, device: str, threads: int) -> None:
        self.impl = impl
        count = str(threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            "NUMBA_NUM_THREADS": count,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        }
        if impl.startswith("snnrun-"):
            # as `import snnrun` sets them, where torch comes later
            environment |= {"OMP_WAIT_POLICY": "PASSIVE", "THP_MEM_ALLOC_ENABLE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "bench.worker", impl, device, count],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # warnings of the libraries; what fails comes as a reply
            text=True,
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for the reply.

        Raises:
            WorkerFailed: it could not, or the process is gone.
        """
        self.send(do, **arguments)
        return self.receive()

    def send(self, do: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # receive() says why
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)

    def receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise WorkerFailed("killed (out of memory?)" if code == -9 else f"its process ended with code {code}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerFailed(reply["error"])
        return reply

    def stop(self) -> None:
        """Let it end; :meth:`close` waits until it has."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def close(self) -> None:
        self.stop()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Timing(NamedTuple):
    """Median over rounds of each round's median, their spread, and the peak of memory; None: unknown."""

    ms: float
    spread_ms: float
    peak_mb: float | None


def spread(values: Sequence[float]) -> float:
    """Interquartile range: one round that something else disturbed does not decide it."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


@dataclass
class Arm:
    """One of the things that are compared: a case (and method) on a worker."""

    worker: Worker
    case: Case
    method: str = "hybrid"
    failure: str = ""
    hidden_spikes: float = 0.0
    rounds: dict[str, list[tuple[float, float | None]]] = field(default_factory=dict)

    def timing(self, name: str) -> Timing | None:
        """None where it failed."""
        if self.failure or not self.rounds.get(name):
            return None
        times = [ms for ms, _ in self.rounds[name]]
        peaks = [peak for _, peak in self.rounds[name] if peak is not None]
        return Timing(statistics.median(times), spread(times), max(peaks) if peaks else None)


def interleave(arms: Sequence[Arm], passes: Sequence[str], rounds: int, seconds: float) -> None:
    """Fill every arm's rounds: all arms once per round and pass. A failing arm is left out from then on."""
    for index, arm in enumerate(arms):
        try:
            reply = arm.worker.ask("load", key=str(index), case=arm.case.to_json(), method=arm.method)
            arm.hidden_spikes = reply["hidden_spikes"]
        except WorkerFailed as failure:
            arm.failure = str(failure)
    for _ in range(rounds):
        for name in passes:
            for index, arm in enumerate(arms):
                if arm.failure:
                    continue
                try:
                    reply = arm.worker.ask("visit", key=str(index), name=name, seconds=seconds)
                    arm.rounds.setdefault(name, []).append((statistics.median(reply["ms"]), reply["peak_mb"]))
                except WorkerFailed as failure:
                    arm.failure = str(failure)
    for worker in {id(arm.worker): arm.worker for arm in arms if not arm.failure}.values():
        worker.ask("drop")

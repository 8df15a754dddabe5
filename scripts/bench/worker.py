"""One implementation in a process of its own: python -m bench.worker IMPL DEVICE THREADS, told what to do over a pipe.

So thread pools and memory of implementations do not mix, and who is not asked waits in a read. Requests and replies are
JSON, one a line.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnrun.errors import UserError

from . import limit
from .cases import CASES, Case, make_spikes
from .ours import Ours
from .peers import PACKAGES, Peer

_CALIBRATION = 4  # samples on which the scale of the weights is sought
_BISECTIONS = 14
_NEAR = 0.05
_MB = 1e6


class Job:
    """A case, built for one implementation and ready to run."""

    def __init__(self, impl: str, case: Case, method: str, device: str) -> None:
        torch.manual_seed(0)
        spikes, labels = make_spikes(case)
        self.net = Peer(impl, case, device) if impl in PACKAGES else Ours(impl.removeprefix("snnrun-"), case, method)
        self.labels = labels.to(self.net.device)
        self._calibrate(spikes[:, :_CALIBRATION].contiguous(), case.rate)
        self.x = self.net.make_input(spikes)
        self.start = {name: value.clone() for name, value in self.net.module.state_dict().items()}
        self.fresh_optimizer = self.net.optimizer.state_dict()

    @torch.no_grad()
    def _calibrate(self, spikes: Tensor, rate: float) -> None:
        """Scale the weights, layer by layer, until neurons fire as often as the case wants."""
        x = self.net.make_input(spikes)
        for layer, weight in enumerate(self.net.weights):
            default, low, high = weight.clone(), 2.0**-6, 2.0**10
            for _ in range(_BISECTIONS):
                scale = math.sqrt(low * high)
                weight.copy_(scale * default)
                s = self.net.layer_spikes(x)[layer]
                reached = s.sum().item() / (rate * s[0].numel())
                if abs(reached - 1) < _NEAR:
                    break
                low, high = (scale, high) if reached < 1 else (low, scale)

    @torch.no_grad()
    def hidden_spikes(self) -> float:
        """Spikes of all hidden layers per sample."""
        layers = self.net.layer_spikes(self.x)[:-1]
        return sum(s.sum().item() for s in layers) / layers[0].shape[1]

    def visit(self, name: str, seconds: float) -> list[float]:
        """Milliseconds of every step of one visit, from the same weights each time; the first step is not timed."""
        self.net.module.load_state_dict(self.start)
        self.net.optimizer.load_state_dict(self.fresh_optimizer)
        self._timed(name)
        times: list[float] = []
        while not times or sum(times) < seconds * 1e3:
            times.append(self._timed(name))
        return times

    def _timed(self, name: str) -> float:
        limit.synchronize()
        started = time.perf_counter()
        if name == "infer":
            with torch.no_grad():
                self.net.infer(self.x)
        elif name == "gradient":
            self.net.gradient(self.x, self.labels)
        else:
            self.net.train(self.x, self.labels)
        limit.synchronize()
        return (time.perf_counter() - started) * 1e3


class Worker:
    """Answers requests; ``device`` is where peers run and the limit is measured."""

    def __init__(self, impl: str, device: str) -> None:
        self.impl, self.device = impl, device
        self.jobs: dict[str, Job] = {}
        self.baseline = 0.0

    def start(self) -> dict[str, Any]:
        """Import, compile and warm up, so that no case pays for it."""
        if self.impl in PACKAGES:
            try:
                import_module(PACKAGES[self.impl])
            except ImportError as error:
                return {"error": "not installed" if error.name == PACKAGES[self.impl] else f"cannot import: {error}"}
        if self.impl == "limit":
            limit.measure_rates(0.0, self.device)
        else:
            self.load("warm-up", CASES["tiny"][0].to_json(), "hybrid")
            for name in ("infer", "train"):
                self.visit("warm-up", name, 0.0)
            self.drop()
        return {}

    def load(self, key: str, case: dict[str, Any], method: str) -> dict[str, Any]:
        if not self.jobs:
            self.baseline = _memory_in_use(self.device_of())
        self.jobs[key] = job = Job(self.impl, Case.from_json(case), method, self.device)
        return {"hidden_spikes": job.hidden_spikes()}

    def visit(self, key: str, name: str, seconds: float) -> dict[str, Any]:
        device = self.device_of()
        _reset_peak(device)
        times = self.jobs[key].visit(name, seconds)
        peak = _peak_memory(device)
        return {"ms": times, "peak_mb": None if peak is None else (peak - self.baseline) / _MB}

    def drop(self) -> dict[str, Any]:
        self.jobs.clear()
        _release()
        return {}

    def rates(self, seconds: float) -> dict[str, Any]:
        return limit.measure_rates(seconds, self.device)._asdict()

    def device_of(self) -> torch.device:
        return torch.device("cuda" if self.impl == "snnrun-cuda" or "cuda" in self.device else "cpu")


def _release() -> None:
    """Hand freed memory back to the system, so that the next case starts from a clean count."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim is not None:
            trim(0)


def _status(field: str) -> float | None:
    """A size in /proc/self/status in bytes; None where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def _memory_in_use(device: torch.device) -> float:
    _release()
    return float(torch.cuda.memory_allocated()) if device.type == "cuda" else _status("VmRSS") or 0.0


def _reset_peak(device: torch.device) -> None:
    _release()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from the present size


def _peak_memory(device: torch.device) -> float | None:
    return float(torch.cuda.max_memory_allocated()) if device.type == "cuda" else _status("VmHWM")


def main() -> None:
    impl, device, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with replies
    worker = Worker(impl, device)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop("do"))(**request)
        except UserError as error:
            reply = {"error": str(error)}
        except Exception as error:  # exhausted memory (a RuntimeError in torch) or a bug: the others go on
            worker.drop()
            reply = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()

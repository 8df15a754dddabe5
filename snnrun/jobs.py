"""One job of a sweep in its place: a process of its own or a shared one, its cores, its GPU, its output."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from snnrun.composition import open_groups
from snnrun.gpus import device_for, visible_gpus
from snnrun.provenance import available_cores
from snnrun.rundir import read_summary
from snnrun.search import objectives
from snnrun.sweep import sweep_job

_GRACE_S = 30.0  # how long an orphan may take to save
_OURS = "SNNRUN_SWEEP_GPUS"  # CUDA_VISIBLE_DEVICES of the command, for jobs whose launcher hides it

_stopped: list[int] = []  # exit codes of this worker's jobs that were told to stop

open_groups()  # a worker composes its job's config before it runs the job


def run_job(node: DictConfig) -> float | list[float]:
    """Run one job wherever its launcher has put it.

    Returns:
        What a search maximises or minimises; a failed job's values are finite, and the worst.
    """
    hydra = cast(DictConfig, HydraConfig.get())
    run_dir = Path(hydra.runtime.output_dir)
    if run_dir.name.isdigit() and hydra.job.num != int(run_dir.name):  # Hydra counts from 0 in each call
        with read_write(hydra), open_dict(hydra.job):
            hydra.job.num = int(run_dir.name)
    if _stopped:  # the sweep is being stopped; what the launcher had handed out already does not begin
        raise SystemExit(_stopped[0])
    try:
        with _place(hydra, run_dir):
            take_gpu(node, hydra.job.num)
            value = sweep_job(node)
    except SystemExit as stopped:
        if parent_process() is not None:
            _stopped.append(stopped.code if isinstance(stopped.code, int) else 1)
        raise
    return objectives(hydra, read_summary(run_dir), value)


def hand_on_gpus() -> None:
    """Let jobs know which GPUs the command itself may use."""
    os.environ[_OURS] = os.environ.get("CUDA_VISIBLE_DEVICES", "all")


@contextmanager
def _place(hydra: Any, run_dir: Path) -> Iterator[None]:
    target = str(hydra.launcher._target_)
    if "submitit" in target:
        _keep_to_allocation(hydra.launcher)
    if parent_process() is None or "submitit" in target:
        yield
        return
    _leave_with_parent()
    started, line = time.monotonic(), f"job {hydra.job.num}: {' '.join(map(_brief, hydra.overrides.task))}"
    print(line, flush=True)
    # several jobs on one terminal: each writes to its folder, errors still come to the terminal
    with (run_dir / "console.log").open("a") as file, redirect_stdout(file):
        yield
    seconds, status = time.monotonic() - started, read_summary(run_dir).get("status", "damaged")
    print(f"job {hydra.job.num}: {status} after {seconds:.0f} s", flush=True)


def _brief(override: str) -> str:
    """A number that a search has drawn, to four digits."""
    key, _, value = override.partition("=")
    with suppress(ValueError):
        return f"{key}={float(value):.4g}" if len(value) > 8 else override
    return override


def _keep_to_allocation(launcher: Any) -> None:
    """Submitit tells its local processes nothing of their share, and hides all GPUs unless told how many to show."""
    if launcher.get("cpus_per_task"):
        os.environ["OMP_NUM_THREADS"] = str(min(int(launcher.cpus_per_task), available_cores()))
    if str(launcher._target_).endswith("LocalLauncher") and launcher.get("gpus_per_node") is None:
        ours = os.environ.get(_OURS, "all")
        if ours == "all":
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = ours


def take_gpu(node: DictConfig, number: int) -> None:
    """Give the job its GPU, where the user leaves that open and there are several."""
    trainer = node.get("trainer")
    if not OmegaConf.is_dict(trainer) or trainer.get("device", "auto") != "auto":
        return
    device = device_for(number, visible_gpus())
    if device != "auto":
        with open_dict(trainer):
            trainer.device = device


def _leave_with_parent() -> None:
    """A worker leaves the terminal's Ctrl-C to the sweep, which tells it once, and does not outlive the sweep."""
    if getattr(_leave_with_parent, "done", False):
        return
    _leave_with_parent.done = True  # type: ignore[attr-defined]
    os.setpgid(0, 0)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(143)

"""Weights & Biases: one run per job, never in the way of training."""

from __future__ import annotations

import math
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from snnrun.data.report import Reporter
from snnrun.observers.base import Outcome, Progress, Row, RunInfo
from snnrun.registry import param, register

_TIMEOUT_S = 20.0


@register("logger", "wandb")
@dataclass
class WandbLogger:
    """Log to Weights & Biases.

    Attributes:
        mode: ``auto`` is online where the user is logged in, else offline (nothing leaves the machine).
    """

    mode: str = param("auto", choices=("auto", "online", "offline"))
    project: str = "snnrun"
    entity: str | None = None


@register("logger", "none")
@dataclass
class NoLogger:
    """Log to the console and the run's folder only."""


class WandbObserver:
    """Logs the rows of metrics.jsonl under the same names; any trouble costs one warning, never the run."""

    def __init__(self, options: WandbLogger, report: Reporter) -> None:
        self.options, self.report = options, report
        self.run: Any = None

    def start(self, run: RunInfo) -> None:
        mode = self._mode()
        if mode == "disabled":
            return
        if mode == "online":
            self.run = self._guarded(
                lambda: _init(self.options, run, "online"), "W&B cannot be reached, logging offline"
            )
        if self.run is None:
            lost = run.cut_off and _remove_unsynced(run)
            self.run = self._guarded(lambda: _init(self.options, run, "offline"), "W&B cannot log, going on without it")
            first = 0 if lost else math.inf
        else:
            first = self.run.step
        for row in run.past:
            if row["step"] is not None and row["step"] >= first:
                self.row(row)

    def step(self, progress: Progress) -> None:
        pass

    def row(self, row: Row) -> None:
        known = {key: value for key, value in row.items() if value is not None}
        self._with_run(lambda: self.run.log(known, step=row["step"]))

    def finish(self, outcome: Outcome) -> None:
        if self.run is None:
            return
        summary = {
            f"{prefix}/{key}": value
            for part, prefix in (("val", "best"), ("test", "test"))
            for key, value in (outcome.summary.get(part) or {}).items()
            if value is not None
        }
        self._with_run(lambda: self.run.summary.update(summary))
        # a run that was interrupted and went on offline has a folder for each part
        parts = sorted(Path(self.run.dir).parent.parent.glob(f"*-{self.run.id}"))
        sync = " ".join(("wandb sync", *(shlex.quote(os.path.relpath(part)) for part in parts)))
        url = None if self.run.offline else self.run.url
        exit_code = int(outcome.summary["status"] != "finished")
        self._with_run(lambda: self.run.finish(exit_code=exit_code), "W&B has not received all of this run")
        outcome.closing.append(f"W&B run: {url}" if url and self.run is not None else sync)
        self.run = None

    def _mode(self) -> str:
        """online, offline or disabled: W&B's own variable can only keep data back, and nobody is asked to log in."""
        environment = os.environ.get("WANDB_MODE")
        if environment == "disabled":
            return environment
        if environment in ("offline", "dryrun") or self.options.mode == "offline":
            return "offline"
        logged_in = self._guarded(_login, "W&B's key cannot be used, logging offline")
        if logged_in is False and "online" in (self.options.mode, environment):
            self.report.note("W&B is asked to be online, but no key is configured: logging offline; try wandb login")
        return "online" if logged_in else "offline"

    def _with_run(self, action: Callable[[], object], warning: str = "W&B failed, going on without it") -> None:
        if self.run is not None:
            self._guarded(action, warning, drop=True)

    def _guarded(self, action: Callable[[], Any], warning: str, drop: bool = False) -> Any:
        import wandb

        try:
            return action()
        except (wandb.errors.Error, OSError, ValueError, RuntimeError) as error:
            self.report.note(f"{warning} ({' '.join(str(error).split())[:160]})")
            if drop:
                self.run = None
            return None


def _remove_unsynced(run: RunInfo) -> bool:
    """Take back what a killed process left of this run on disk only; returns whether that is all there was.

    W&B writes its file in blocks of 32 KiB, so that the rows since the last one are lost. Of a run that is in part with
    the service already, nothing is taken back.
    """
    folder, parts = Path(run.run_dir) / "wandb", f"offline-run-*-{run.run_id}"
    if list(folder.glob(f"{parts}/*.synced")):
        return False
    for part in folder.glob(parts):
        shutil.rmtree(part, ignore_errors=True)
    return True


def _login() -> bool:
    """Whether a key is configured (environment, W&B's settings, netrc); it is not tried, and nobody is asked."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))  # login would tell the terminal where it found the key
    return wandb.login(prompt=False, verify=False)


def _init(options: WandbLogger, run: RunInfo, mode: Literal["online", "offline"]) -> Any:
    import wandb

    return wandb.init(
        project=options.project,
        entity=options.entity,
        dir=run.run_dir,
        name=f"{run.method}_{run.dataset}_{run.loss}_s{run.seed}",
        group=run.group,
        job_type=run.mode,
        tags=[run.method, run.dataset, run.loss],
        config=dict(run.config),
        mode=mode,
        id=run.run_id,
        resume=None if run.resumed_at is None else "allow",  # the same run goes on
        reinit="create_new",  # a second init in one process would otherwise return the first run
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            x_disable_stats=True,
            init_timeout=_TIMEOUT_S,
            finish_timeout=_TIMEOUT_S,
            finish_timeout_raises=True,
        ),
    )

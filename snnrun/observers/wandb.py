"""Weights & Biases: one run per job, never in the way of training."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnrun.data import Reporter
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
        import wandb

        mode = self._mode()
        if mode == "disabled":
            return
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            init_timeout=_TIMEOUT_S,
            login_timeout=_TIMEOUT_S,
        )

        def init(mode: str) -> Any:
            return wandb.init(
                project=self.options.project,
                entity=self.options.entity,
                dir=run.run_dir,
                name=f"{run.method}_{run.dataset}_{run.loss}_s{run.seed}",
                group=run.group,
                job_type=run.mode,
                tags=[run.method, run.dataset, run.loss],
                config=dict(run.config),
                mode=mode,
                reinit="create_new",  # a second init in one process would otherwise return the first run
                settings=settings,
            )

        self.run = self._guarded(lambda: init(mode), f"W&B cannot be reached, logging offline (logger.mode={mode})")
        if self.run is None and mode == "online":
            self.run = self._guarded(lambda: init("offline"), "W&B cannot log, going on without it")

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
        folder, offline = self.run.dir, self.run.offline
        url = None if offline else self.run.url
        self._with_run(lambda: self.run.finish(exit_code=int(outcome.summary["status"] != "finished")))
        if offline:
            outcome.closing.append(f"wandb sync {os.path.relpath(Path(folder).parent)}")
        elif url:
            outcome.closing.append(f"W&B run: {url}")

    def _mode(self) -> str:
        """Asked for, or by environment: W&B's own variable wins over ``auto``."""
        environment = os.environ.get("WANDB_MODE")
        if environment == "disabled" or (environment == "offline" and self.options.mode == "auto"):
            return environment
        if self.options.mode != "auto":
            return self.options.mode
        import wandb

        logged_in = self._guarded(lambda: wandb.login(prompt=False, verify=False), "W&B login cannot be read")
        return "online" if logged_in else "offline"

    def _with_run(self, action: Callable[[], object]) -> None:
        if self.run is not None:
            self._guarded(action, "W&B failed, going on without it", drop=True)

    def _guarded(self, action: Callable[[], object], warning: str, drop: bool = False) -> Any:
        import wandb

        try:
            return action()
        except (wandb.errors.Error, OSError, ValueError, RuntimeError) as error:
            self.report.note(f"{warning} ({' '.join(str(error).split())[:160]})")
            if drop:
                self.run = None
            return None

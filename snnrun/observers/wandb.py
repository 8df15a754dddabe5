"""Weights & Biases: one run per job, never in the way of training."""

from __future__ import annotations

import math
import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from snnrun.data.report import Reporter
from snnrun.observers.base import Observer, Outcome, Progress, Row, RunInfo
from snnrun.observers.logger import Logger
from snnrun.registry import param, register

_TIMEOUT_S = 20.0
_IMAGES = ("raster", "confusion")  # the other plots are drawn better by W&B itself, over many runs


@register("logger", "wandb")
@dataclass
class WandbLogger(Logger):
    """Log to Weights & Biases.

    Attributes:
        mode: ``auto`` is online where the user is logged in, else offline (nothing leaves the machine).
        log_model: keep best.pt of a finished training as artifact ``model-<run id>:best``.
    """

    mode: str = param("auto", choices=("auto", "online", "offline"))
    project: str = "snnrun"
    entity: str | None = None
    log_model: bool = False

    def observers(self, report: Reporter) -> Sequence[Observer]:
        return (WandbObserver(self, report),)


class WandbObserver:
    """Logs the rows of metrics.jsonl under the same names; any trouble costs one warning, never the run."""

    def __init__(self, options: WandbLogger, report: Reporter) -> None:
        self.options, self.report = options, report
        self.run: Any = None
        self.complete = True  # nothing that should be logged was lost
        self.first = 0  # the step below which W&B drops what it is given: it has the rows of a run that goes on

    def start(self, run: RunInfo) -> None:
        self.info = run
        # W&B's own telemetry would wait ten more seconds at exit for a server out of reach
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        mode = self._mode()
        if mode == "disabled":
            return
        if mode == "online":
            _, self.run = self._attempt(
                lambda: _init(self.options, run, "online"), "W&B cannot be reached, logging offline"
            )
        if self.run is None:
            lost = run.cut_off and _remove_unsynced(run)
            _, self.run = self._attempt(
                lambda: _init(self.options, run, "offline"), "W&B cannot log, going on without it"
            )
            first = 0 if lost else math.inf
        else:
            first = self.first = self.run.starting_step
            self.report.note(f"W&B run: {self.run.url}")
        for row in run.past:
            if row["step"] is not None and row["step"] >= first:
                self.row(row)

    def step(self, progress: Progress) -> None:
        pass

    def row(self, row: Row) -> None:
        known = {key: value for key, value in row.items() if value is not None}
        self._log(lambda: self.run.log(known, step=self._step_of(row)))

    def finish(self, outcome: Outcome) -> None:
        if self.run is None:
            return
        self._log(lambda: self.run.summary.update(_summary(outcome)))
        if self.complete and outcome.evidence is not None:
            self._attempt(lambda: self._log_images(outcome), "W&B does not show the plots of this run")
            if self.options.log_model and self.info.mode == "train":
                self._attempt(lambda: self._log_model(outcome), "W&B does not keep best.pt")
        # a run that was interrupted and went on offline has a folder for each part
        parts = sorted(Path(self.run.dir).parent.parent.glob(f"*-{self.run.id}"))
        sync = " ".join(("wandb sync", *(shlex.quote(os.path.relpath(part)) for part in parts)))
        url = None if self.run.offline else self.run.url
        exit_code = int(outcome.summary["status"] != "finished" or not self.complete)
        sent, _ = self._attempt(lambda: self.run.finish(exit_code=exit_code), "W&B has not received all of this run")
        outcome.closing.append(f"W&B run: {url}" if url and sent else sync)
        self.run = None

    def _step_of(self, row: Row) -> int:
        """A row's own step; where only the last evaluation was cut off, W&B has that of the last epoch already."""
        return max(int(row["step"] or 0), self.first)

    def _mode(self) -> Literal["online", "offline", "disabled"]:
        """W&B's own variable can only keep data back, and nobody is asked to log in."""
        environment = os.environ.get("WANDB_MODE")
        if environment == "disabled":
            return "disabled"
        if environment in ("offline", "dryrun") or self.options.mode == "offline":
            return "offline"
        answered, logged_in = self._attempt(
            login, "W&B does not answer or refuses the key, logging offline; logger.mode=offline skips the attempt"
        )
        if answered and not logged_in and "online" in (self.options.mode, environment):
            self.report.note("W&B is asked to be online, but no key is configured: logging offline; try wandb login")
        return "online" if logged_in else "offline"

    def _log_images(self, outcome: Outcome) -> None:
        import wandb

        drawn = {name: outcome.plots[name] for name in _IMAGES if name in outcome.plots}
        images = {f"plots/{name}": wandb.Image(str(path)) for name, path in drawn.items()}
        if images:
            self.run.log(images, step=self._step_of(outcome.rows[-1]))

    def _log_model(self, outcome: Outcome) -> None:
        import wandb

        summary = outcome.summary
        about = ("method", "loss", "model", "dataset", "T", "seed", "best_epoch")
        metadata = {key: summary.get(key) for key in about} | _summary(outcome)
        artifact = wandb.Artifact(f"model-{self.run.id}", type="model", metadata=metadata)
        # immutable: not copied elsewhere first, for the files of a finished run stay as they are
        artifact.add_file(str(self.info.run_dir / "checkpoints" / "best.pt"), policy="immutable")
        self.run.log_artifact(artifact, aliases=["best"])

    def _log(self, action: Callable[[], object]) -> None:
        """Log something that a complete run has; after a first failure, nothing more is tried until the end."""
        if self.run is not None and self.complete:
            self.complete, _ = self._attempt(action, "W&B failed, going on without it")

    def _attempt(self, action: Callable[[], Any], warning: str) -> tuple[bool, Any]:
        """Whether an action went through, and its result."""
        try:
            return True, action()
        except Exception as error:  # of whatever kind: a third party's trouble is not the run's
            if self.complete:
                self.report.note(f"{warning} ({' '.join(str(error).split())[:160]})")
            return False, None


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


def _summary(outcome: Outcome) -> dict[str, float]:
    """``val`` and ``test`` of summary.json under the names that they have in W&B."""
    return {
        f"{prefix}/{key}": value
        for part, prefix in (("val", "best"), ("test", "test"))
        for key, value in (outcome.summary.get(part) or {}).items()
        if value is not None
    }


def login() -> bool:
    """Whether a key is configured (environment, W&B's settings, netrc) and the server accepts it; nobody is asked.

    Raises:
        wandb.errors.AuthenticationError: it is refused, or nobody answers within 10 s.
    """
    import wandb

    wandb.setup(wandb.Settings(silent=True))  # login would tell the terminal where it found the key
    return wandb.login(prompt=False, verify=True)


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

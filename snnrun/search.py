"""Searches by Optuna: the space, the objectives, the study. What comes out is shown by search_report.py."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf

from snnrun.composition import compose_node, to_plain
from snnrun.config import Config, check
from snnrun.errors import UserError
from snnrun.experiment import score
from snnrun.metrics import higher_is_better
from snnrun.registry import Search
from snnrun.trainer import monitored

SPIKES = "val/spikes"
WORST = 1e9  # stands for the largest float, which would overflow in the volumes that multi-objective samplers compare


def is_search(node: DictConfig) -> bool:
    """Whether Optuna chooses the values."""
    return str(node.hydra.sweeper._target_).startswith("hydra_plugins.hydra_optuna_sweeper.")


def objectives(hydra: Any, summary: Mapping[str, Any], monitor_score: float) -> float | list[float]:
    """One value, or with several directions the monitored metric and the spikes on validation."""
    if not isinstance(hydra.sweeper.get("direction"), ListConfig):
        return monitor_score
    spikes = score(summary, SPIKES) if summary else WORST
    return [min(monitor_score, WORST), min(spikes, WORST)]


def sweeper_overrides(node: DictConfig, config: Config | None, overrides: Sequence[str], folder: Path) -> list[str]:
    """What the sweeper needs to know and no yaml can say, as overrides of Hydra's own part.

    Args:
        node: composed with the first value of everything searched; ``config`` is the same, checked.

    Raises:
        UserError: a storage that cannot be opened.
    """
    sweeper = node.hydra.sweeper
    chosen = []
    direction = sweeper.get("direction")
    several = isinstance(direction, ListConfig)
    if "auto" in (direction if several else [direction]):
        monitor = monitored(config.trainer.monitor, config.dataset.has_labels) if config else "val/acc"
        first = "maximize" if higher_is_better(monitor) else "minimize"
        chosen.append(f"hydra.sweeper.direction={f'[{first},minimize]' if several else first}")
    if "JoblibLauncher" in str(node.hydra.launcher._target_) and not _given(overrides, "hydra.sweeper.n_jobs"):
        import joblib

        chosen.append(f"hydra.sweeper.n_jobs={joblib.effective_n_jobs(int(node.hydra.launcher.n_jobs))}")
    if sweeper.get("storage") is not None:
        name = str(sweeper.study_name or study_name(overrides, sweeper, several))
        chosen.append(f"hydra.sweeper.study_name='{name}'")
        trials, folders = _trials(str(sweeper.storage), name), _next_folder(folder)
        seed = (sweeper.get("sampler") or {}).get("seed")
        if seed is not None and trials:  # the same seed again would draw the same first trials again
            chosen.append(f"hydra.sweeper.sampler.seed={int(seed) + trials}")
        if folders:
            chosen.append("hydra.sweep.subdir='${snnrun.plus:${hydra.job.num}," + f"{folders}" + "}'")
    return chosen


def study_name(overrides: Sequence[str], sweeper: Any, several: bool) -> str:
    """One name per search: trials of other options are not comparable. How many and where is no part of it."""
    elsewhere = ("hydra", "logger", "experiment_name")
    what = sorted(text for text in overrides if not text.lstrip("+~").startswith(elsewhere))
    space = OmegaConf.to_yaml(sweeper.get("params") or {}, sort_keys=True)
    digest = hashlib.sha256("\n".join([*what, space]).encode()).hexdigest()[:8]
    return f"snnrun_{'pareto' if several else 'best'}_{digest}"


def suggest(node: DictConfig, trial: Any) -> None:
    """Optuna's ``custom_search_space``: options of the method and the loss that this trial has, where not given.

    Args:
        node: the sweep's config, with ``hydra``.
        trial: has its other parameters already; ``user_attrs`` are those with a fixed value.
    """
    given = {**trial.user_attrs, **trial.params}
    sources = OmegaConf.to_container(node.hydra.runtime.config_sources)
    assert isinstance(sources, list)
    own = [source["path"] for source in sources if source["provider"] == "command-line"]
    try:
        with _another_composition():
            node = compose_node([f"{key}={value}" for key, value in given.items()], own[0] if own else None)
        config = check(to_plain(node))
    except UserError:
        return  # the job itself says what is wrong
    for name, search in searchable(config):
        if name in given:
            continue
        if isinstance(search.low, int) and isinstance(search.high, int):
            trial.suggest_int(name, search.low, search.high, log=search.log)
        else:
            trial.suggest_float(name, search.low, search.high, log=search.log)


@contextmanager
def _another_composition() -> Iterator[None]:
    """Hydra composes for one application at a time; put the running one aside."""
    running, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = running


def searchable(config: Config) -> Iterator[tuple[str, Search]]:
    """Options of the method and the loss that name a range to search.

    Where the loss is what is minimised, its options are not: they would lower the number and not the errors.
    """
    monitor = monitored(config.trainer.monitor, config.dataset.has_labels)
    for group in ("method",) if monitor == "val/loss" else ("method", "loss"):
        for field in dataclasses.fields(getattr(config, group)):
            if "search" in field.metadata:
                yield f"{group}.{field.name}", field.metadata["search"]


def _given(overrides: Sequence[str], key: str) -> bool:
    return any(text.lstrip("+").split("=")[0] == key for text in overrides)


def _next_folder(folder: Path) -> int:
    """One more than the last job's number in a sweep's folder."""
    numbers = [int(path.name) for path in folder.glob("*") if path.name.isdigit()] if folder.is_dir() else []
    return max(numbers, default=-1) + 1


def _trials(storage: str, name: str) -> int:
    """Trials that a stored study has; 0 for a new one."""
    import optuna

    try:
        known = optuna.get_all_study_summaries(storage)
    except Exception as error:  # SQLAlchemy's, the database driver's or Optuna's own
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"hydra.sweeper.storage={storage} cannot be used ({reason})",
            "Write sqlite:///FILE.db in a folder that exists",
        ) from None
    return sum(study.n_trials for study in known if study.study_name == name)


def quiet_optuna() -> None:
    """Optuna would write two lines a trial to stderr."""
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.ERROR)


OmegaConf.register_new_resolver("snnrun.plus", lambda a, b: int(a) + int(b), replace=True)

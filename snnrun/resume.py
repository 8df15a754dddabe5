"""Going on with a run that was interrupted: which one, from which checkpoint, with which changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from snnrun import checkpoint
from snnrun.composition import compose_node, folder_of, to_plain
from snnrun.config import Config, check
from snnrun.errors import NotOurs, UserError
from snnrun.rundir import LAST, clear, read_summary, status
from snnrun.stored import apply, parse_overrides, refuse_others, stored_config

# What may change when a run goes on: how long and where it runs, and who is told, but not what is trained.
SAFE = (
    "resume",
    "plugins",
    "logger",
    "dataset.root",
    "dataset.workers",
    "trainer.epochs",
    "trainer.device",
    "trainer.kernel",
    "trainer.threads",
    "trainer.eval_batch_size",
    "trainer.checkpoint_minutes",
)
# What two configurations of the same run may differ in: nothing that could show in a result.
_NEUTRAL = (
    "mode",
    "checkpoint",
    "resume",
    "plugins",
    "logger",
    "dataset.root",
    "dataset.workers",
    "trainer.device",
    "trainer.threads",
    "trainer.checkpoint_minutes",
)


class Resumption(NamedTuple):
    """A run that goes on: its checked configuration, the checkpoint's state, its folder and group."""

    config: Config
    state: dict[str, Any]
    run_dir: Path
    group: str


def compose_resume(overrides: Sequence[str], config_dir: str | None) -> Resumption:
    """The run that ``resume=RUN_DIR`` or ``resume=auto`` stands for, with safe overrides.

    Raises:
        UserError: no such run, one that is finished or at work, a bad checkpoint, an override that would change what
            is trained.
    """
    parsed = parse_overrides(overrides)
    asked = to_plain(compose_node(overrides, config_dir))
    if asked.get("mode") == "test":
        raise UserError("resume goes on with training, mode=test does not", "Leave one of them out")
    if asked["resume"] == "auto":
        run_dir = _newest(check({**asked, "resume": None}), _folder_of_runs(overrides, config_dir))
        parsed = [override for override in parsed if _is_one_of(override.key_or_group, SAFE)]
    else:
        refuse_others(parsed, SAFE, "when a run goes on, it comes from the run")
        run_dir = Path(str(asked["resume"])).expanduser()
    state = read_state(run_dir)
    with checkpoint.whole(run_dir / LAST):
        before = stored_config(state, asked.get("plugins") or ())
        plain = {**before, **{group: dict(node) for group, node in before.items() if isinstance(node, dict)}}
        apply([override for override in parsed if override.key_or_group != "resume"], asked, plain)
        config = check({**plain, "resume": None})
        _check_epochs(config, state, run_dir, before)
    return Resumption(config, state, run_dir, str(read_summary(run_dir).get("group") or config.options.experiment_name))


def read_state(run_dir: Path) -> dict[str, Any]:
    """The checkpoint from which a run can go on.

    Raises:
        UserError: there is none, or the run is at work.
    """
    if not run_dir.is_dir():
        raise UserError(f"resume={run_dir} is not a folder", "Name the folder of a run, outputs/EXPERIMENT/RUN")
    refuse_running(run_dir)
    if not (run_dir / LAST).exists():
        raise UserError(f"{run_dir} holds no checkpoint, no run came to its first step there", "Start it anew")
    return checkpoint.load(run_dir / LAST)


def job_state(config: Config, run_dir: Path) -> tuple[bool, dict[str, Any] | None]:
    """What is left to do of a sweep's job: whether it is finished, and the checkpoint to go on from.

    A job that failed, or was interrupted before its first checkpoint, begins anew; its folder is cleared for that.

    Raises:
        NotOurs: the folder holds a run of another config, or one that is at work.
        UserError: the checkpoint is damaged.
    """
    there = status(run_dir)
    if not there:
        return False, None
    refuse_running(run_dir)
    stored = config_on_disk(run_dir)
    if stored is not None:
        refuse_other_config(config, stored, run_dir)
    if there == "finished":
        return True, None
    if there == "interrupted" and (run_dir / LAST).exists():
        return False, checkpoint.load(run_dir / LAST)
    clear(run_dir)
    return False, None


def refuse_running(run_dir: Path) -> None:
    """Leave a run alone that is at work.

    Raises:
        NotOurs: names its process.
    """
    if status(run_dir) == "running":
        summary = read_summary(run_dir)
        raise NotOurs(
            f"{run_dir} is being written by process {summary.get('pid')} on {summary.get('host')}",
            "Stop it first; if that process is gone, delete the summary.json there",
        )


def refuse_other_config(config: Config, stored: Any, run_dir: Path) -> None:
    """Hold the config that a run was started with against the one that is asked for.

    Raises:
        NotOurs: names the first option that differs.
    """
    difference = _difference(_flat(stored), _flat(config.to_dict()))
    if difference:
        raise NotOurs(f"{run_dir} holds another run: {difference}", "Choose another hydra.sweep.dir")


def config_on_disk(run_dir: Path) -> Any:
    """What config.yaml holds, as data; None where there is none to read."""
    try:
        return yaml.safe_load((run_dir / "config.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _check_epochs(config: Config, state: Mapping[str, Any], run_dir: Path, before: Mapping[str, Any]) -> None:
    with checkpoint.whole(run_dir / LAST):
        done, planned = int(state["train"]["epoch"]), int(before["trainer"]["epochs"])
    epochs = config.trainer.epochs
    finished = status(run_dir) == "finished"
    if epochs != planned and config.scheduler.depends_on_epochs:
        raise UserError(
            f"trainer.epochs cannot be changed with scheduler={config.scheduler.name}, whose course depends on it",
            "Train anew, or keep it",
        )
    if finished and epochs <= planned:
        raise UserError(f"{run_dir} holds a finished run", f"To train it longer, add trainer.epochs=N, above {planned}")
    if epochs < done:
        raise UserError(f"trainer.epochs={epochs}, but the run is in epoch {done} already", f"Make it at least {done}")


def _folder_of_runs(overrides: Sequence[str], config_dir: str | None) -> Path:
    return folder_of(compose_node(overrides, config_dir)).parent


def _newest(config: Config, folder: Path) -> Path:
    """The interrupted run of this config that was saved last."""
    wanted, found = _flat(config.to_dict(), but="trainer.epochs"), []
    for last in folder.glob(f"*/{LAST}"):
        run_dir = last.parent.parent
        stored = config_on_disk(run_dir)
        if status(run_dir) == "interrupted" and stored and _flat(stored, but="trainer.epochs") == wanted:
            found.append((last.stat().st_mtime_ns, run_dir))
    if not found:
        raise UserError(f"no interrupted run of this config is in {folder}", "Start it without resume")
    return max(found)[1]


def _is_one_of(key: str, keys: Sequence[str]) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in keys)


def _flat(config: Any, but: str = "resume") -> dict[str, Any]:
    """Options that decide results, under their dotted names."""
    found: dict[str, Any] = {}
    for key, value in (config if isinstance(config, Mapping) else {}).items():
        parts = {f"{key}.{name}": part for name, part in value.items()} if isinstance(value, Mapping) else {key: value}
        found |= {name: part for name, part in parts.items() if not _is_one_of(name, (*_NEUTRAL, but))}
    return found


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    for key in [*here, *there]:
        values = [config.get(key, "not set") for config in (there, here)]
        if values[0] != values[1]:
            return f"{key} is {values[0]} there and {values[1]} here"
    return ""

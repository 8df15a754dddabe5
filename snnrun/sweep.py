"""Sweeps: options are checked before the first job, jobs never take others down, the exit code tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import IntervalSweep
from omegaconf import DictConfig

from snnrun.composition import compose_node, folder_of, to_plain
from snnrun.config import Config, check
from snnrun.errors import Interrupted, NotOurs, OutputError, PairError, UserError
from snnrun.experiment import Run, score
from snnrun.extras import check_installed
from snnrun.observers import write_summary
from snnrun.resume import job_state
from snnrun.rundir import read_summary, refuse_job, status
from snnrun.stop import Stop
from snnrun.stored import parse_overrides


@dataclass(frozen=True)
class Sweep:
    """A sweep that can begin.

    Attributes:
        node: its config with ``hydra``, everything that is swept at its first value.
        config: the same, checked; None where these first values are a pair that cannot work.
    """

    folder: Path
    node: DictConfig
    config: Config | None


def check_sweep(overrides: Sequence[str], config_dir: str | None) -> Sweep:
    """Try every swept value once, the other options at their first value; of an interval, both ends.

    Raises:
        UserError: an option that no job could use, a launcher or sweeper that is not installed. Pairs that cannot work
            are left to their jobs.
    """
    first: Sweep | None = None
    for candidate in _one_at_a_time(_with_sweeper_params(overrides, config_dir)):
        node, config = compose_node(candidate, config_dir), None
        with suppress(PairError):
            config = check(to_plain(node))
        if config is not None and config.options.mode == "test":
            raise UserError("mode=test evaluates one checkpoint and cannot be swept", "Leave -m out")
        first = first or Sweep(folder_of(node, "sweep"), node, config)
    assert first is not None
    return first


def sweep_job(node: DictConfig) -> float:
    """One job of a sweep; a failure is recorded in its folder and scores worst.

    Returns:
        The monitored validation metric of the best epoch.
    """
    hydra = HydraConfig.get()
    run_dir, group = Path(hydra.runtime.output_dir), Path(hydra.sweep.dir).name
    monitor = (node.get("trainer") or {}).get("monitor") or "val/acc"
    stop, run = Stop(), None
    try:
        config = check(to_plain(node))
        done, state = job_state(config, run_dir)
        if done:
            return score(read_summary(run_dir), monitor)
        print(f"\njob {hydra.job.num}: {' '.join(hydra.overrides.task)}", flush=True)
        run = Run(config, run_dir, group, stop, state)
        with stop.listening():
            summary = run()
        return score(summary, summary.get("monitor", monitor))
    except Interrupted as error:
        raise SystemExit(128 + error.signum) from None
    except Exception as error:
        if stop.handing_on:  # a launcher's word on its own job
            raise
        if isinstance(error, UserError):
            print(f"snnrun: error: job {hydra.job.num}: {error}", file=sys.stderr, flush=True)
        else:
            sys.excepthook(type(error), error, error.__traceback__)
        failed = {"status": "failed", "error": str(error) or repr(error), "bug": not isinstance(error, UserError)}
        there = status(run_dir)
        if isinstance(error, NotOurs):
            refuse_job(Path(hydra.runtime.cwd) / hydra.sweep.dir, hydra.job.num, str(error))
        elif there != "interrupted" and not (run and there == "failed"):  # the run has written its own, fuller record
            with suppress(OutputError):
                write_summary(run_dir, failed | {"group": group, "run_dir": str(run_dir)})
        return score(failed, monitor)


def exit_code(folder: Path, compared: bool) -> int:
    """0 if all jobs finished, 1 if one failed by a bug, 2 if one failed otherwise; prints their comparison if asked."""
    from snnrun.compare.sweep_end import end_sweep  # scipy and matplotlib are for the end only

    found = end_sweep(folder, compared)
    print(f"sweep: {len(found.runs)} of {found.total} jobs finished, in {folder}")
    if any(read_summary(job.folder).get("bug") for job in found.aside):
        return 1
    return 2 if found.aside else 0


def _with_sweeper_params(overrides: Sequence[str], config_dir: str | None) -> list[str]:
    """The overrides and those that ``hydra.sweeper.params`` adds to them, in the order in which the last one wins."""
    node = compose_node(next(_one_at_a_time(overrides)), config_dir)
    _check_plugins(node)
    params = node.hydra.sweeper.get("params") or {}
    given = {override.get_key_element() for override in parse_overrides(overrides)}
    added = [f"{key}={value}" for key, value in params.items() if key not in given]
    continuous = [o for o in parse_overrides([*added, *overrides]) if o.is_interval_sweep()]
    if continuous and str(node.hydra.sweeper._target_).endswith(".BasicSweeper"):
        raise UserError(f"{continuous[0].input_line} has no end of values", "Add hparams_search=optuna to search in it")
    return [*added, *overrides]


def _check_plugins(node: DictConfig) -> None:
    for part in ("launcher", "sweeper"):
        choice = node.hydra.runtime.choices[f"hydra/{part}"]
        check_installed(f"hydra/{part}={choice}", str(node.hydra[part]._target_))


def _one_at_a_time(overrides: Sequence[str]) -> Iterator[list[str]]:
    fixed: list[str] = []
    swept: list[list[str]] = []
    for text, override in zip(overrides, parse_overrides(overrides), strict=True):
        if not override.is_sweep_override():
            fixed.append(text)
        elif override.is_discrete_sweep():
            key = override.get_key_element()
            swept.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        elif override.is_interval_sweep():
            interval = cast(IntervalSweep, override.value())
            swept.append([f"{override.get_key_element()}={end}" for end in (interval.start, interval.end)])
    first = [values[0] for values in swept]
    yield [*fixed, *first]
    for index, values in enumerate(swept):
        for value in values[1:]:
            yield [*fixed, *first[:index], value, *first[index + 1 :]]

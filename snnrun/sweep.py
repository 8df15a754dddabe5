"""Sweeps: options are checked before the first job, jobs never take others down, the exit code tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from snnrun.config import check, compose_node, to_plain
from snnrun.errors import Interrupted, NotOurs, OutputError, PairError, UserError
from snnrun.experiment import Run, score
from snnrun.observers import write_summary
from snnrun.resume import job_state
from snnrun.rundir import read_summary, refuse_job, status
from snnrun.stop import Stop
from snnrun.stored import parse_overrides


def check_sweep(overrides: Sequence[str], config_dir: str | None) -> str:
    """Try every swept value once, the other options at their first value; returns the sweep's folder.

    Raises:
        UserError: an option that no job could use. Pairs that cannot work are left to their jobs.
    """
    folder = ""
    for candidate in _one_at_a_time(overrides):
        node = compose_node(candidate, config_dir)
        folder = folder or str(node.hydra.sweep.dir)
        try:
            mode = check(to_plain(node)).options.mode
        except PairError:
            continue
        if mode == "test":
            raise UserError("mode=test evaluates one checkpoint and cannot be swept", "Leave -m out")
    return folder


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


def exit_code(folder: Path) -> int:
    """0 if all jobs finished, 1 if one failed by a bug, 2 if one failed otherwise; prints a line per job."""
    jobs = sorted((path.parent for path in folder.glob("*/summary.json")), key=lambda path: (len(path.name), path.name))
    summaries = [read_summary(job) for job in jobs]
    failed = [summary for summary in summaries if summary.get("status") != "finished"]
    print(f"\n{'job':>4} {'method':<12} {'loss':<12} {'seed':>4} {'test acc':>9} {'spikes':>9} {'to decision':>12}")
    for job, summary in zip(jobs, summaries, strict=True):
        print(_job_line(job.name, summary))
    print(f"sweep: {len(summaries) - len(failed)} of {len(summaries)} jobs finished, in {folder}")
    if any(summary.get("bug") for summary in failed):
        return 1
    return 2 if failed else 0


def _job_line(job: str, summary: dict[str, Any]) -> str:
    if summary.get("status") != "finished":
        return f"{job:>4} {summary.get('status', 'damaged')}: {summary.get('error')}"
    test = summary["test"]
    acc = "-" if test["acc"] is None else f"{100 * test['acc']:.2f} %"
    head = f"{job:>4} {summary['method']:<12} {summary['loss']:<12} {summary['seed']:>4}"
    return f"{head} {acc:>9} {test['spikes']:>9.1f} {test['spikes_to_decision']:>12.1f}"


def _one_at_a_time(overrides: Sequence[str]) -> Iterator[list[str]]:
    fixed: list[str] = []
    swept: list[list[str]] = []
    for text, override in zip(overrides, parse_overrides(overrides), strict=True):
        if not override.is_sweep_override():
            fixed.append(text)
        elif override.is_discrete_sweep():
            key = override.get_key_element()
            swept.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        # a continuous interval is its sweeper's to draw from
    first = [values[0] for values in swept]
    yield [*fixed, *first]
    for index, values in enumerate(swept):
        for value in values[1:]:
            yield [*fixed, *first[:index], value, *first[index + 1 :]]

"""A whole sweep, from the first job to the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from snnrun import forget
from snnrun.children import stopping
from snnrun.jobs import hand_on_gpus
from snnrun.rundir import any_refused, forget_refused
from snnrun.search import is_search, quiet_optuna, sweeper_overrides
from snnrun.search_report import report_search
from snnrun.sweep import Sweep, exit_code
from snnrun.trainer import monitored


def sweep_overrides(sweep: Sweep, overrides: Sequence[str]) -> list[str]:
    """What Hydra has to be told beside the user's own overrides: the folder as composed once, and a search's details.

    Raises:
        UserError: a search's storage that cannot be opened.
    """
    # composed anew, the folder's time stamp would be another
    added = [f"hydra.sweep.dir={quoted(str(sweep.folder))}", forget.OVERRIDE]
    if is_search(sweep.node):
        quiet_optuna()
        added += sweeper_overrides(sweep.node, sweep.config, overrides, sweep.folder)
    return added


def run_sweep(sweep: Sweep, overrides: Sequence[str], launch: Callable[[], int]) -> int:
    """Launch the jobs and report; returns the exit code of the sweep.

    Args:
        launch: lets Hydra run all jobs; returns its exit code.
    """
    folder, launcher = sweep.folder, str(sweep.node.hydra.launcher._target_)
    hand_on_gpus()
    forget_refused(folder)
    outputs = _outputs(sweep.node.hydra.launcher, folder)
    if outputs:
        print(f"sweep: jobs write to {outputs}", flush=True)
    with stopping(folder, launcher):
        code = launch()
    if code > 128:
        print(f"snnrun: stopped by signal {code - 128}; what was finished is in {folder}", file=sys.stderr)
    if code:
        return code
    searching = is_search(sweep.node)
    code = exit_code(folder, compared=not searching) or 2 * any_refused(folder)
    if code and outputs:
        print(f"sweep: what failed jobs wrote is in {outputs}")
    if searching:
        config = sweep.config
        monitor = monitored(config.trainer.monitor, config.dataset.has_labels) if config else "val/acc"
        report_search(folder, overrides, monitor)
    return code


def quoted(text: str) -> str:
    """A value as Hydra's grammar reads it back unchanged."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _outputs(launcher: Any, folder: Path) -> str:
    """Where jobs write that do not write to this terminal."""
    if "submitit" in launcher._target_:
        return f"{folder}/.submitit/*/*_log.out and *_log.err"
    in_workers = launcher._target_.endswith("JoblibLauncher") and launcher.n_jobs != 1
    return f"{folder}/*/console.log" if in_workers else ""

"""What a search found: the best options as a command, or the Pareto front as a table and a plot."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from snnrun.figures import BLACK, BLUE, GREY
from snnrun.metrics import higher_is_better
from snnrun.search import SPIKES, WORST
from snnrun.search_record import Trial, read_trials, write_record

_SHOWN = 20  # solutions of a front in the table


class Solution(NamedTuple):
    """A set of options that no other beats, its values (one per objective), and the job that had it."""

    params: Mapping[str, Any]
    values: Sequence[float]
    job: str


def report_search(folder: Path, overrides: Sequence[str], monitor: str, console: Console | None = None) -> None:
    """Show what Optuna wrote at the end of its search, write ``trials.csv``, draw ``pareto.png`` for two objectives.

    Args:
        overrides: of the search's own command line.
        monitor: the first objective.
    """
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a file or pipe has no width at which to break lines
    trials = read_trials(folder, monitor)
    record = write_record(folder, trials, overrides, monitor)
    finished = [trial for trial in trials if trial.status == "finished" and None not in (trial.value, trial.spikes)]
    solutions = _solutions(folder, finished, monitor)
    if not solutions:
        console.print("search: no trial has finished")
        return
    solutions.sort(key=lambda solution: solution.values[0], reverse=higher_is_better(monitor))
    best = solutions[0]
    if len(best.values) == 1:
        console.print(f"\nsearch: best {monitor} {_value(monitor, best.values[0])}, job {best.job}", markup=False)
    else:
        console.print(_table(solutions, monitor))
        path = folder / "pareto.png"
        pareto_plot([_point(trial) for trial in finished], solutions, monitor).savefig(path, dpi=150)
        text = f"search: {len(solutions)} on the Pareto front of {len(finished)} finished trials, drawn in {path}"
        console.print(text, markup=False)
    console.print(f"search: all trials are in {record}", markup=False, soft_wrap=True)
    console.print(command(overrides, best.params), markup=False, soft_wrap=True)


def command(overrides: Sequence[str], params: Mapping[str, Any]) -> str:
    """The command line of a single run with these options."""
    keys = {text: text.lstrip("+~").split("=")[0] for text in overrides}
    kept = [text for text, key in keys.items() if not key.startswith(("hydra", "hparams_search")) and key not in params]
    return "snnrun " + shlex.join([*kept, *(f"{key}={value}" for key, value in params.items())])


def pareto_plot(points: Sequence[Sequence[float]], solutions: Sequence[Solution], monitor: str) -> Any:
    """All trials, those that nothing beats joined by a line.

    Args:
        points: (monitored metric, spikes per sample) of each finished trial.
    """
    from matplotlib.figure import Figure

    scale = 100 if higher_is_better(monitor) else 1
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.scatter([p[1] for p in points], [scale * p[0] for p in points], s=28, color=GREY, label="trials", zorder=2)
    front = sorted((solution.values[1], scale * solution.values[0], solution.job) for solution in solutions)
    spikes, values, names = zip(*front, strict=True)
    axes.plot(spikes, values, "o-", color=BLUE, markeredgecolor=BLACK, markersize=7, label="Pareto front", zorder=3)
    for x, y, name in front if len(names) <= _SHOWN else []:
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, -11), fontsize=8)
    if min(spikes) > 0 and max(p[1] for p in [*points, (0, max(spikes))]) > 30 * min(spikes):
        axes.set_xscale("log")
    unit = " (%)" if scale == 100 else ""
    axes.set(xlabel="spikes per sample (validation)", ylabel=f"{monitor}{unit}", title="Accuracy against spikes")
    if scale == 1:
        axes.set_title(f"{monitor} against spikes")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def _table(solutions: Sequence[Solution], monitor: str) -> Table:
    keys = list(dict.fromkeys(key for solution in solutions for key in solution.params))
    table = Table(title="Pareto front: higher accuracy costs spikes", title_justify="left", box=None, pad_edge=False)
    for name in ("job", monitor, SPIKES, *_short_names(keys)):
        table.add_column(name, justify="right", overflow="fold")
    for solution in solutions[:_SHOWN]:
        options = [_short(solution.params.get(key, "-")) for key in keys]
        table.add_row(solution.job, _value(monitor, solution.values[0]), f"{solution.values[1]:.1f}", *options)
    if len(solutions) > _SHOWN:
        table.caption = f"and {len(solutions) - _SHOWN} more, in optimization_results.yaml"
    return table


def _solutions(folder: Path, finished: Sequence[Trial], monitor: str) -> list[Solution]:
    """From the file that the sweeper writes; those that only failed trials are left with are dropped."""
    try:
        results = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    except OSError:
        return []
    if "solutions" in results:
        found = [(entry["params"], entry["values"]) for entry in results["solutions"]]
    else:
        found = [(results["best_params"], [results["best_value"]])]
    worst = (0.0,) if higher_is_better(monitor) else (WORST, sys.float_info.max)
    solutions = []
    for params, values in found:
        equal = [trial for trial in finished if list(_point(trial)[: len(values)]) == list(values)]
        equal = [trial for trial in equal if _has(trial, params)] or equal
        if equal or values[0] not in worst:
            solutions.append(Solution(params, values, equal[0].job if equal else "before"))
    return solutions


def _point(trial: Trial) -> tuple[float, float]:
    """Monitored metric and spikes per sample of a finished trial."""
    assert trial.value is not None
    assert trial.spikes is not None
    return float(trial.value), float(trial.spikes)


def _has(trial: Trial, params: Mapping[str, Any]) -> bool:
    """Whether a trial was started with these options."""
    return all(f"{key}={value}" in trial.overrides for key, value in params.items())


def _value(monitor: str, value: float) -> str:
    return f"{100 * value:.2f} %" if higher_is_better(monitor) else f"{value:.4g}"


def _short_names(keys: Sequence[str]) -> list[str]:
    """Options without their group, where that leaves them apart."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return [short if last.count(short) == 1 else key for short, key in zip(last, keys, strict=True)]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

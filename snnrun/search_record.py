"""The record of a search: every trial's options and what it reached on validation, as a table to keep."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import yaml

from snnrun.atomic import write
from snnrun.metrics import higher_is_better
from snnrun.rundir import read_summary, status
from snnrun.search import SPIKES


def write_record(folder: Path, overrides: Sequence[str], monitor: str) -> Path | None:
    """Write ``trials.csv`` into the search's folder, best first, trials without a result last; None without trials.

    Columns: job, status, the monitored metric, spikes per sample and seconds of training (all on validation), then what
    was searched. Trials of earlier calls in the same folder are in it.

    Args:
        overrides: of the search's own command line, which all trials share.
    """
    name, shared = monitor.removeprefix("val/"), set(overrides)
    trials = []
    for path in folder.glob("*/.hydra/overrides.yaml"):
        job = path.parent.parent
        summary = read_summary(job)
        val = summary.get("val") or {}
        chosen = [text.partition("=") for text in yaml.safe_load(path.read_text()) if text not in shared]
        trials.append(
            {
                "job": job.name,
                "status": status(job),
                monitor: val.get(name),
                SPIKES: val.get("spikes"),
                "train_s": (summary.get("time") or {}).get("train_s"),
                **{key.lstrip("+"): value for key, _, value in chosen if not key.startswith("hydra")},
            }
        )
    if not trials:
        return None
    sign = -1 if higher_is_better(monitor) else 1
    trials.sort(key=lambda trial: (trial[monitor] is None, sign * (trial[monitor] or 0), trial["job"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for trial in trials for key in trial)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(trials)
    path = folder / "trials.csv"
    write(path, text.getvalue().encode())
    return path

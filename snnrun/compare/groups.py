"""Runs in groups: what they are grouped by, which run of a group belongs to which of another, and what is compared."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnrun.compare.runs import Run
from snnrun.errors import UserError

FOLD = "dataset.fold"
_REPLICATES = {"seed", "dataset.split_seed", FOLD}  # the same experiment again
_NAMES = {
    "method",
    "loss",
    "model",
    "dataset",
    "optimizer",
    "scheduler",
    "experiment",
}  # their values speak for themselves


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing that they are grouped by.

    Attributes:
        key: values of the options it stands for, in the order of ``by``.
        label: the part of it that tells it apart from the others it is compared with.
        runs: by what tells runs of one group apart, mostly (seed,); equal keys of two groups make a pair.
    """

    key: Mapping[str, Any]
    label: str
    runs: Mapping[tuple[Any, ...], Run]

    def values(self, metric: str) -> dict[tuple[Any, ...], float]:
        """A test metric of every run; empty where a run lacks it, for a mean over fewer runs would mislead."""
        values = {key: run.test[metric] for key, run in self.runs.items() if metric in run.test}
        return values if len(values) == len(self.runs) else {}


@dataclass(frozen=True, eq=False)
class Block:
    """Groups on one data set, which may be compared.

    Attributes:
        by: options that differ between its groups.
        replicates: options that tell runs of one group apart, mostly ("seed",).
        baselines: for each group, the one that it is compared with; itself for a baseline, None without one.
    """

    dataset: str
    by: tuple[str, ...]
    replicates: tuple[str, ...]
    groups: Sequence[Group]
    baselines: Sequence[Group | None]

    @property
    def unit(self) -> str:
        """What the runs of a group are."""
        if set(self.replicates) == {FOLD}:
            return "fold"
        return "seed" if set(self.replicates) <= {"seed"} else "run"


def default_keys(runs: Sequence[Run]) -> list[str]:
    """Method, data set and whatever a sweep varied; the loss where it differs."""
    keys = ["method", "dataset"]
    if _differ(runs, "loss"):
        keys.append("loss")
    if _is_sweep(runs):  # its command lines say what was asked
        swept = dict.fromkeys(key for run in runs for key in run.overrides)
        keys += [key for key in swept if key not in (*keys, "loss") and key not in _REPLICATES and _asked(runs, key)]
    return keys


def make_blocks(runs: Sequence[Run], by: Sequence[str], baseline: str | None = None) -> list[Block]:
    """Group runs; a block per data set.

    Args:
        by: dotted config keys, names of config groups (method, loss, ...) or facts (T, kernel, ...).
        baseline: which group of each block the others are compared with: a value or KEY=VALUE of what they are
            grouped by, or a label. By default the method activation, else the first group.

    Raises:
        UserError: no run has such a key; no group is the baseline.
    """
    _check_keys(runs, by)
    if "dataset" not in by and _differ(runs, "dataset"):  # a mean over data sets means nothing
        by = [*by, "dataset"]
    blocks = []
    for dataset in dict.fromkeys(run.value("dataset") for run in runs):
        inside = [run for run in runs if run.value("dataset") == dataset]
        blocks.append(_block(str(dataset), inside, by, baseline))
    if baseline is not None and all(group is None for block in blocks for group in block.baselines):
        labels = dict.fromkeys(group.label for block in blocks for group in block.groups)
        raise UserError(f"no group is the baseline {baseline!r}", f"Groups: {', '.join(labels)}")
    return blocks


def newest(runs: Sequence[Run], by: Sequence[str]) -> tuple[list[Run], list[Run]]:
    """Runs without repetitions, and the older ones of runs made more than once with the same options and seed."""
    latest: dict[frozenset[Any], Run] = {}
    for run in runs:
        asked = {key: run.value(key) for key in (*by, "method", "loss", "dataset", "seed")}
        same = frozenset({**run.options, **asked}.items())
        if same not in latest or run.started >= latest[same].started:
            latest[same] = run
    kept = {id(run) for run in latest.values()}
    return [run for run in runs if id(run) in kept], [run for run in runs if id(run) not in kept]


def shown(value: Any) -> str:
    """A value as tables show it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)


def _block(dataset: str, runs: Sequence[Run], by: Sequence[str], baseline: str | None) -> Block:
    parts: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        parts.setdefault(tuple(run.value(key) for key in by), []).append(run)
    differing = tuple(key for index, key in enumerate(by) if len({part[index] for part in parts}) > 1)
    replicates = _replicates(list(parts.values()), by)
    telling = telling_keys(by, differing, list(parts))
    groups = []
    for values, members in parts.items():
        key = dict(zip(by, values, strict=True))
        own = {tuple(run.value(name) for name in replicates): run for run in members}
        groups.append(Group(key, label_of(key, telling), own))
    return Block(dataset, differing, replicates, groups, [_baseline(group, groups, baseline) for group in groups])


def _replicates(parts: Sequence[Sequence[Run]], by: Sequence[str]) -> tuple[str, ...]:
    """Options that vary within some group; the seed first."""
    keys = dict.fromkeys(key for part in parts for run in part for key in run.options if key not in by)
    varying = [key for key in keys if any(_differ(part, key) for part in parts)]
    return tuple(sorted(varying, key=lambda key: (key != "seed", key)))


def telling_keys(by: Sequence[str], differing: Sequence[str], keys: Sequence[tuple[Any, ...]]) -> list[str]:
    """As few options as tell groups apart: with method and loss, mostly the method."""
    telling = list(differing or by[:1])
    for name in reversed(differing):
        fewer = [other for other in telling if other != name]
        places = [by.index(other) for other in fewer]
        if fewer and len({tuple(key[place] for place in places) for key in keys}) == len(keys):
            telling = fewer
    return telling


def label_of(key: Mapping[str, Any], telling: Sequence[str]) -> str:
    """``hybrid``, ``hybrid latency``, ``hybrid lr=0.002``."""
    parts = []
    for name in telling:
        value = shown(key[name])
        parts.append(value if name in _NAMES else f"{name.rpartition('.')[2]}={value}")
    return " ".join(parts)


def _baseline(group: Group, groups: Sequence[Group], asked: str | None) -> Group | None:
    """Of the groups that are meant, the one that agrees with this one in most else."""
    if asked is not None:
        meant = [other for other in groups if _is_meant(other, asked)]
    else:
        meant = [other for other in groups if other.key.get("method") == "activation"] or [groups[0]]
        if len({other.key.get("method") for other in groups}) == 1:
            meant = [groups[0]]
    if not meant or group in meant:
        return group if meant else None
    return max(meant, key=lambda other: sum(other.key[name] == value for name, value in group.key.items()))


def _is_meant(group: Group, asked: str) -> bool:
    name, equals, value = asked.partition("=")
    pairs = {(key, shown(held)) for key, held in group.key.items()}
    pairs |= {(key.rpartition(".")[2], held) for key, held in pairs}
    return group.label == asked or asked in {held for _, held in pairs} or (bool(equals) and (name, value) in pairs)


def _check_keys(runs: Sequence[Run], by: Sequence[str]) -> None:
    for key in by:
        if any(run.value(key) is not None for run in runs):
            continue
        known = sorted({name for run in runs for name in (*run.facts, *run.config)})
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"Did you mean {close[0]}?" if close else "config.yaml of a run lists them"
        raise UserError(f"no run has the option {key}", hint)


def _differ(runs: Sequence[Run], key: str) -> bool:
    return len({run.value(key) for run in runs}) > 1


def _is_sweep(runs: Sequence[Run]) -> bool:
    """Whether the runs are jobs of one sweep."""
    folder = Path(os.path.commonpath([run.folder.resolve() for run in runs]))
    return folder.name.startswith("sweep_") or (folder / "multirun.yaml").is_file()


def _asked(runs: Sequence[Run], key: str) -> bool:
    return len({run.overrides.get(key) for run in runs}) > 1

"""A comparison as data: groups, their estimates, differences to their baseline, what is best beyond noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from snnrun.compare.checks import slower_for_other_reasons, warnings_of
from snnrun.compare.groups import Block, Group, default_keys, make_blocks, newest
from snnrun.compare.runs import Aside, Found, find
from snnrun.compare.statistics import Difference, Estimate, difference, estimate
from snnrun.errors import UserError


class Metric(NamedTuple):
    """A column: its key in summary.json, name, unit, factor to that unit, and direction."""

    key: str
    name: str
    unit: str
    scale: float
    higher_is_better: bool


ACCURACY = Metric("acc", "accuracy", "%", 100.0, True)
LOSS = Metric("loss", "test loss", "", 1.0, False)
SPIKES = Metric("spikes", "spikes", "", 1.0, False)
_OTHERS = (
    SPIKES,
    Metric("spikes_to_decision", "to decision", "", 1.0, False),
    Metric("synops", "synaptic operations", "", 1.0, False),
    Metric("latency", "latency", "steps", 1.0, False),
    Metric("train_s", "training", "s", 1.0, False),
)


@dataclass(frozen=True)
class Row:
    """A group's line in a table.

    Attributes:
        estimates: by metric key.
        differences: to the baseline, by metric key; empty for a baseline.
        best: metric keys in which it is best by more than noise.
    """

    group: Group
    baseline: Group | None
    estimates: dict[str, Estimate | None]
    differences: dict[str, Difference | None]
    best: set[str]

    @property
    def n(self) -> int:
        """Number of runs."""
        return len(self.group.runs)


@dataclass(frozen=True)
class Table:
    """A block with its numbers; the first metric is what groups are judged by."""

    block: Block
    metrics: tuple[Metric, ...]
    rows: list[Row]
    warnings: list[str]


@dataclass(frozen=True)
class Comparison:
    """All tables, and what was left out of them.

    Attributes:
        notes: on runs that were left out although they finished.
    """

    tables: list[Table]
    aside: list[Aside]
    notes: list[str]


def compare(
    folders: Sequence[Path], by: Sequence[str] | None = None, baseline: str | None = None, along: str | None = None
) -> Comparison:
    """Compare all finished runs in and below the folders.

    Args:
        along: one more option to group by, whose groups plots join to a curve.

    Raises:
        UserError: no folder, no run, no such option or baseline.
    """
    return compare_found(find(folders), by, baseline, along)


def compare_found(
    found: Found, by: Sequence[str] | None = None, baseline: str | None = None, along: str | None = None
) -> Comparison:
    """Compare runs that were read already.

    Raises:
        UserError: no such option or baseline.
    """
    if not found.runs:
        return Comparison([], found.aside, [])
    by = list(dict.fromkeys([*(by or default_keys(found.runs)), *([along] if along else [])]))
    runs, repeated = newest(found.runs, by)
    tables = [_table(block) for block in make_blocks(runs, by, baseline)]
    notes = []
    if repeated:
        names = ", ".join(run.name for run in repeated[:3]) + (", ..." if len(repeated) > 3 else "")
        count = f"{len(repeated)} run{'s' if len(repeated) > 1 else ''}"
        notes.append(
            f"{count} made again later with the same options and seed, of which the newest counts: not {names}"
        )
    return Comparison(tables, found.aside, notes)


def nothing_to_compare(comparison: Comparison, folders: Sequence[Path]) -> UserError:
    """The error for folders without a single finished run."""
    states: dict[str, int] = {}
    for aside in comparison.aside:
        states[aside.state] = states.get(aside.state, 0) + 1
    held = ", ".join(f"{count} {state}" for state, count in states.items()) or "no runs at all"
    return UserError(f"no finished runs in {', '.join(map(str, folders))} (there: {held})", "Name other folders")


def best_rows(table: Table, most: int) -> list[Row]:
    """The rows, in their order; where there are more than that, the best by the first metric."""
    if len(table.rows) <= most:
        return table.rows
    main = table.metrics[0]
    sign = -1.0 if main.higher_is_better else 1.0

    def badness(row: Row) -> float:
        found = row.estimates[main.key]
        return float("inf") if found is None else sign * found.mean

    kept = set(map(id, sorted(table.rows, key=badness)[:most]))
    return [row for row in table.rows if id(row) in kept]


def _table(block: Block) -> Table:
    labelled = any(group.values("acc") for group in block.groups)
    metrics = (ACCURACY if labelled else LOSS, *_OTHERS)
    best = {metric.key: _best(block, metric) for metric in metrics}
    rows = []
    for group, baseline in zip(block.groups, block.baselines, strict=True):
        estimates = {metric.key: estimate(group.values(metric.key)) for metric in metrics}
        differences: dict[str, Difference | None] = {}
        if baseline is not None and baseline is not group:
            differences = {m.key: _difference(group, baseline, m) for m in metrics}
        rows.append(Row(group, baseline, estimates, differences, {key for key, who in best.items() if who is group}))
    return Table(block, metrics, rows, warnings_of(block))


def _difference(ours: Group, theirs: Group, metric: Metric) -> Difference | None:
    """None too for values of different losses, which have no common scale."""
    if metric is LOSS and _loss_names([ours]) != _loss_names([theirs]):
        return None
    return difference(ours.values(metric.key), theirs.values(metric.key))


def _loss_names(groups: Sequence[Group]) -> set[str]:
    return {run.facts["loss"] for group in groups for run in group.runs.values()}


def _best(block: Block, metric: Metric) -> Group | None:
    """The group that beats the runner-up by more than noise."""
    if metric.key == "train_s" and slower_for_other_reasons(block):
        return None
    if metric is LOSS and len(_loss_names(block.groups)) > 1:
        return None
    sign = -1.0 if metric.higher_is_better else 1.0
    ranked = [(sign * found.mean, group) for group in block.groups if (found := estimate(group.values(metric.key)))]
    if len(ranked) < 2:
        return None
    (_, first), (_, second) = sorted(ranked, key=lambda pair: pair[0])[:2]
    gap = difference(first.values(metric.key), second.values(metric.key))
    return first if gap is not None and gap.beyond_noise else None

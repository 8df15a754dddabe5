"""What makes a comparison less fair than its table looks: runs that differ in more than they are grouped by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from snnrun.compare.groups import FOLD, Block, Group, shown
from snnrun.compare.reading import number
from snnrun.compare.runs import Run
from snnrun.kernels.constants import unit_beta

_MOST_VALUES = 4
_SPLIT = "dataset.split_seed"
_FACTS = {"code": "code versions", "torch": "PyTorch versions", "data": "data (hash)"}


def warnings_of(block: Block) -> list[str]:
    """Lines on a block's groups: data splits, T, code versions or options that they mix, or differ in."""
    mixed = _gather(block, (pair for group in block.groups for pair in _mixed(group, block)))
    return [*mixed, *_between(block), *_betas(block)]


def slower_for_other_reasons(block: Block) -> bool:
    """Whether times of its groups cannot be compared: other machines, devices, kernels or threads."""
    runs = [run for group in block.groups for run in group.runs.values()]
    return any(len({run.value(key) for run in runs}) > 1 for key in ("host", "device", "kernel", "threads"))


def _mixed(group: Group, block: Block) -> Iterator[tuple[str, str]]:
    """What runs of one group differ in, and the group."""
    runs = list(group.runs.values())
    for key in block.replicates:
        values = _values(runs, key)
        if key == "seed" or len(values) < 2 or (key == FOLD and None not in values):
            continue  # folds are there to be averaged over, but not with a test set of its own
        if key == _SPLIT:
            yield f"runs of different data splits ({key} {_listed(values)})", group.label
        elif key == "dataset.T":
            yield f"runs of different T ({_listed(values)}): spikes and latency are not alike", group.label
        else:
            yield f"runs of different {key} ({_listed(values)}); --by {key} tells them apart", group.label
    own_reason = any(key.startswith("dataset.") for key in block.replicates)
    for fact, name in _FACTS.items():
        values = _values(runs, fact)
        if len(values) > 1 and not (fact == "data" and own_reason):
            yield f"runs of different {name} ({_listed(values)})", group.label


def _between(block: Block) -> Iterator[str]:
    """What the same in every run of a group, but not in all groups, and is not what they are grouped by."""
    everyone = [run for group in block.groups for run in group.runs.values()]
    keys = dict.fromkeys(key for run in everyone for key in run.options)
    own_reason = False
    for key in keys:
        if key == "seed" or key in block.replicates or _follows(key, block.by):
            continue
        held = {group.label: next(iter(group.runs.values())).value(key) for group in block.groups}
        if len(set(held.values())) > 1:
            own_reason |= key.startswith("dataset.")
            yield f"groups differ in {key} as well ({_by_value(_briefly(held, block))})"
    for fact, name in _FACTS.items():
        per_group = {group.label: _values(list(group.runs.values()), fact) for group in block.groups}
        if fact == "data" and (own_reason or any(key.startswith("dataset.") for key in (*block.replicates, *block.by))):
            continue
        if all(len(values) == 1 for values in per_group.values()):
            one = {label: values[0] for label, values in per_group.items()}
            if len(set(one.values())) > 1:
                yield f"groups come from different {name} ({_by_value(one)})"


def _follows(key: str, by: Sequence[str]) -> bool:
    """Whether an option belongs to what groups are told apart by: method.penalty goes with the method."""
    return any(key == name or key.startswith(f"{name}.") for name in by)


def _betas(block: Block) -> Iterator[str]:
    """Automatic scales of the neuron that depend on T, where T is too short for its response to reach its peak."""
    windows: dict[tuple[float, float], set[int]] = {}
    for group in block.groups:
        for run in group.runs.values():
            alphas = number(run.value("model.alpha_i")), number(run.value("model.alpha_v"))
            automatic = "auto" in (run.value("model.beta_v"), run.value("model.beta_bias"))
            if automatic and None not in alphas:
                windows.setdefault(alphas, set()).add(run.value("T"))  # type: ignore[arg-type]
    for (alpha_i, alpha_v), steps in windows.items():
        betas = {T: unit_beta(alpha_i, alpha_v, T) for T in sorted(steps)[:_MOST_VALUES]}
        if len(set(betas.values())) > 1:
            named = ", ".join(f"{beta:.3g} for T={T}" for T, beta in betas.items())
            yield f"automatic betas differ, T being shorter than the neuron's rise ({named}): set model.beta_v"


def _gather(block: Block, pairs: Iterator[tuple[str, str]]) -> list[str]:
    """The same remark on several groups in one line."""
    labels: dict[str, list[str]] = {}
    for text, label in pairs:
        labels.setdefault(text, []).append(label)
    return [
        f"{'all groups' if len(names) == len(block.groups) > 1 else _listed(names)}: {text}"
        for text, names in labels.items()
    ]


def _values(runs: Sequence[Run], key: str) -> list[Any]:
    return list(dict.fromkeys(run.value(key) for run in runs))


def _briefly(held: Mapping[str, Any], block: Block) -> Mapping[str, Any]:
    """Values by the one option that decides them, where there is such, instead of by groups."""
    for name in block.by:
        pairs = {(shown(group.key[name]), held[group.label]) for group in block.groups}
        if len(pairs) == len({value for value, _ in pairs}):
            return dict(sorted(pairs, key=str))
    return held


def _by_value(held: Mapping[str, Any]) -> str:
    """``0.001: activation, timing; 0.002: hybrid``."""
    labels: dict[Any, list[str]] = {}
    for label, value in held.items():
        labels.setdefault(value, []).append(label)
    parts = [f"{shown(value)}: {_listed(names)}" for value, names in labels.items()]
    return "; ".join(parts[:_MOST_VALUES]) + ("; ..." if len(parts) > _MOST_VALUES else "")


def _listed(values: Sequence[Any]) -> str:
    texts = [shown(value) for value in values[:_MOST_VALUES]]
    return ", ".join(texts) + (", ..." if len(values) > _MOST_VALUES else "")

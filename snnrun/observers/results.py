"""The final table: every efficiency key with its unit and meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_SHARE, _COUNT = "share", "count"

_KEYS = (
    ("acc", _SHARE, "accuracy of the loss's own decision"),
    ("acc_count", _SHARE, "accuracy of the output with most spikes"),
    ("acc_first", _SHARE, "accuracy of the output that spikes first"),
    ("undecided", _SHARE, "samples without any output spike"),
    ("loss", "", "mean over samples"),
    ("spikes", _COUNT, "per sample, all layers, whole window"),
    ("spikes_to_decision", _COUNT, "per sample, up to the first output spike"),
    ("latency", _COUNT, "steps to the first output spike"),
    ("synops", _COUNT, "synaptic operations per sample"),
    ("spikes_per_correct", _COUNT, "spikes for each right answer"),
)


def result_rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(name, value with unit, meaning) of the test's metrics; layers below their total."""
    test = summary["test"]
    for key, kind, meaning in _KEYS:
        yield key, _value(test.get(key), kind), meaning
        layers = sorted(name for name in test if name.startswith(f"{key}/"))
        for name in layers if len(layers) > 1 else ():
            yield f"  {name.rpartition('/')[2]}", _value(test[name], kind), ""


def _value(value: float | None, kind: str) -> str:
    if value is None:
        return "-"
    if kind == _SHARE:
        return f"{100 * value:.2f} %"
    if kind == _COUNT:
        return f"{value:,.1f}"
    return f"{value:.4f}"

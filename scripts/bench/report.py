"""What the benchmark leaves: a table on the screen, a list of rows as JSON, a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from snnrun.errors import UserError

from .cases import Case

PEERS = ("spikingjelly", "snntorch", "norse")
PASSES = ("train", "infer")
_COLOURS = {
    "snnrun-cuda": "#08519c",
    "snnrun-cpu": "#2171b5",
    "snnrun-reference": "#9ecae1",
    "spikingjelly": "#e6550d",
    "snntorch": "#fd8d3c",
    "norse": "#fdbe85",
    "limit": "#636363",
}


class Row(NamedTuple):
    """One measurement; ``failure`` says why there is none."""

    case: Case
    impl: str
    device: str  # cpu or cuda: times are compared on one device only
    name: str  # "train" or "infer"
    ms: float | None
    spread_ms: float | None
    peak_mb: float | None
    hidden_spikes: float | None = None
    failure: str = ""


def write_json(rows: list[Row], path: Path) -> None:
    """Rows that were measured, as a list of objects.

    Raises:
        UserError: the file cannot be written.
    """
    content = [
        {
            "case": row.case.name,
            "T": row.case.T,
            "batch": row.case.batch,
            "impl": row.impl,
            "pass": row.name,
            "ms": row.ms,
            "spread_ms": row.spread_ms,
            "peak_mb": row.peak_mb,
        }
        for row in rows
        if row.ms is not None
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"--out: {path} cannot be written ({error.strerror or error})") from None


def comparison(rows: list[Row]) -> Table:
    """Every implementation beside the fastest peer and the limit of its case."""
    columns = ("case", "T", "batch", "pass", "impl", "ms", "spread", "peer/this", "this/limit", "peak MB", "hidden")
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[5:]:
        column.justify = "right"
    last = None
    for row in rows:
        group = (row.case, row.name)
        if last is not None and group != last:
            table.add_row()
        last = group
        where = (row.case.name, str(row.case.T), str(row.case.batch), row.name, row.impl)
        if row.ms is None:
            table.add_row(*where, row.failure)
            continue
        peer, bound = fastest_peer(rows, row), _limit(rows, row)
        table.add_row(
            *where,
            _number(row.ms),
            _number(row.spread_ms),
            _ratio(peer / row.ms) if peer else "",
            _ratio(row.ms / bound) if bound else "",
            _number(row.peak_mb),
            _number(row.hidden_spikes),
        )
    return table


def fastest_peer(rows: list[Row], like: Row) -> float | None:
    """Time of the fastest peer in the same case and pass; None where there is none."""
    return min((row.ms for row in _beside(rows, like) if row.impl in PEERS and row.ms is not None), default=None)


def _limit(rows: list[Row], like: Row) -> float | None:
    return next((row.ms for row in _beside(rows, like) if row.impl == "limit"), None)


def _beside(rows: list[Row], like: Row) -> list[Row]:
    where = (like.case, like.name, like.device)
    return [row for row in rows if (row.case, row.name, row.device) == where]


def _ratio(value: float) -> str:
    return f"{value:,.0f}x" if value >= 10 else f"{value:.1f}x" if value >= 0.95 else f"{value:.2f}x"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def plot(rows: list[Row], path: Path) -> None:
    """Bars per case and implementation, one panel per pass, milliseconds on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [row for row in rows if row.ms is not None]
    cases = list(dict.fromkeys(row.case for row in rows))
    impls = [impl for impl in _COLOURS if any(row.impl == impl for row in rows)]
    figure, axes = plt.subplots(
        len(PASSES), 1, figsize=(max(7.0, 1.9 * len(cases) + 1), 6.4), sharex=True, layout="constrained"
    )
    width = 0.84 / len(impls)
    titles = {"train": "Training step (forward, loss, backward, Adam)", "infer": "Inference (forward only)"}
    for axis, name in zip(axes, PASSES, strict=True):
        for position, impl in enumerate(impls):
            bars = {row.case: row for row in rows if row.impl == impl and row.name == name}
            x = [cases.index(case) - 0.42 + width * (position + 0.5) for case in bars]
            heights = [row.ms for row in bars.values()]
            spreads = [(row.spread_ms or 0.0) / 2 for row in bars.values()]
            axis.bar(x, heights, width * 0.92, color=_COLOURS[impl], label=impl, yerr=spreads, ecolor="#00000070")
            for left, row in zip(x, bars.values(), strict=True):
                peer = fastest_peer(rows, row)
                if impl != "limit" and peer:
                    top = row.ms + (row.spread_ms or 0.0) / 2
                    style = {"ha": "center", "va": "bottom", "fontsize": 8, "rotation": 90}
                    axis.annotate(_ratio(peer / row.ms), (left, top), (0, 3), textcoords="offset points", **style)
        axis.set_yscale("log")
        low, high = axis.get_ylim()
        axis.set_ylim(low, high * 3)  # room for the labels
        axis.set_ylabel("ms per batch")
        axis.set_title(titles[name], fontsize=10, loc="left")
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xticks(range(len(cases)), [f"{case.name}\nT={case.T}, batch {case.batch}" for case in cases])
    axes[-1].set_xlim(-0.6, len(cases) - 0.4)
    for axis in axes:
        axis.tick_params(axis="x", length=0)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(impls), frameon=False)
    figure.supxlabel("labels: time of the fastest peer over this one's", fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)

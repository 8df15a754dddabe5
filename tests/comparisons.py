"""Made-up sweeps to compare, and what a terminal shows of a comparison."""

import io
from pathlib import Path
from typing import Any

from made_up_runs import make_run
from rich.console import Console

from snnrun.compare.report import Comparison
from snnrun.compare.table import show


def three_methods(top: Path, seeds: int = 3, **changes: Any) -> Path:
    for index, method in enumerate(("activation", "timing", "hybrid")):
        for seed in range(seeds):
            acc = 0.9 + 0.02 * index + 0.001 * (seed + seed * index)
            make_run(top / f"{index}_{seed}", method, seed, acc, 50 + 40 * index + seed, **changes)
    return top


def text(comparison: Comparison, width: int = 140) -> str:
    """What a terminal shows."""
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, highlight=False)
    with console.capture() as captured:
        show(comparison, console)
    return captured.get()


def labels(comparison: Comparison) -> list[str]:
    return [row.group.label for table in comparison.tables for row in table.rows]

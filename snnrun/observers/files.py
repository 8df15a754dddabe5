"""What a run leaves on disk: config.yaml, metrics.jsonl, summary.json, test_curve.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from snnrun import atomic
from snnrun.observers.base import Outcome, Progress, Row, RunInfo


class FilesObserver:
    """Writes the files of a run; metrics.jsonl row by row, so that a killed run keeps what it measured."""

    def start(self, run: RunInfo) -> None:
        self.run_dir = run.run_dir
        self.metrics = run.run_dir / "metrics.jsonl"
        text = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
        atomic.write(run.run_dir / "config.yaml", text.encode())
        if run.past or self.metrics.exists():  # cut to what the checkpoint holds; a torn last line goes, too
            atomic.write(self.metrics, "".join(to_json(row) + "\n" for row in run.past).encode())

    def step(self, progress: Progress) -> None:
        pass

    def row(self, row: Row) -> None:
        with atomic.told(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(to_json(row) + "\n")  # closing flushes: a killed run keeps its rows

    def finish(self, outcome: Outcome) -> None:
        if outcome.evidence is not None:
            atomic.write(self.run_dir / "test_curve.json", to_json(outcome.evidence.curve).encode())
        write_summary(self.run_dir, outcome.summary)


def write_summary(run_dir: Path, summary: Mapping[str, Any]) -> None:
    """Replace summary.json as a whole."""
    atomic.write(run_dir / "summary.json", f"{to_json(summary, indent=2)}\n".encode())


def to_json(content: Any, indent: int | None = None) -> str:
    """Strict JSON: numbers that are not finite become null."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content

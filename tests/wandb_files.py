"""What W&B's offline files hold, read back with W&B's own reader."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def offline_run(run_dir: Path) -> Path:
    (folder,) = (run_dir / "wandb").glob("offline-run-*")
    return folder


def inspect(run_dir: Path, *options: str) -> str:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(offline_run(run_dir))]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def state(run_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(inspect(run_dir, "--summary"))
    return content


def records(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    every = map(json.loads, inspect(run_dir).splitlines())
    return [record[kind] for record in every if record["type"] == kind]


@dataclass
class Logged:
    """One offline run.

    Attributes:
        run: its record: group, job type, tags, id.
        rows: its history, in order.
        artifacts: their records.
    """

    folder: Path
    run: dict[str, Any]
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    artifacts: list[dict[str, Any]]
    exit_code: int

    @classmethod
    def read(cls, run_dir: Path) -> "Logged":
        every = [json.loads(line) for line in inspect(run_dir).splitlines()]
        of = {kind: [record[kind] for record in every if record["type"] == kind] for kind in ("run", "history", "exit")}
        (run,), (ended,) = of["run"], of["exit"]
        summary: dict[str, Any] = {}
        for record in every:
            summary |= record["summary"].get("update", {}) if record["type"] == "summary" else {}
        return cls(
            folder=offline_run(run_dir),
            run=run,
            config={key: value for key, value in run["config"]["update"].items() if key != "_wandb"},
            rows=[record["item"] for record in of["history"]],
            summary=summary,
            artifacts=[record["artifact"] for record in every if record["type"] == "artifact"],
            exit_code=ended["exit_code"],
        )

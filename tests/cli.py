"""Running the real command line in tests."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = 300


def snnrun(*arguments: str, cwd: Path, check: bool = False, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m snnrun`` as a user would, offline, with ``cwd`` as the current folder."""
    result = subprocess.run(
        [sys.executable, "-m", "snnrun", *arguments],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if check and result.returncode:
        raise AssertionError(f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def environment(**env: str) -> dict[str, str]:
    """The environment of a user who is logged in nowhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "SNNRUN", "PYTEST"))}
    return kept | {"WANDB_MODE": "offline", "SNNRUN_CACHE": os.environ.get("SNNRUN_CACHE", "")} | env


def run_dirs(cwd: Path) -> list[Path]:
    """Folders of all runs below ``cwd``, oldest first."""
    return sorted((path.parent for path in (cwd / "outputs").rglob("summary.json")), key=lambda path: str(path))


def only_run(cwd: Path) -> Path:
    (run_dir,) = run_dirs(cwd)
    return run_dir


def summary(run_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run_dir / "summary.json").read_text())
    return content


def rows(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def timeless(content: dict[str, Any]) -> dict[str, Any]:
    """Without times, which no promise of equality covers."""
    return {key: value for key, value in content.items() if not key.startswith("time")}

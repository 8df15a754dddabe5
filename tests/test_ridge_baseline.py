"""scripts/ridge_baseline.py: its features are counts, its folds those of networks, its command real."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli import environment

from snnrun.data.events import EventSource
from snnrun.data.store import EventStore

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "ridge_baseline.py"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)


def test_features_are_square_roots_of_counts_per_saccade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from ridge_baseline import counts_per_saccade

    times = np.array([0, 50, 104_999, 105_000, 209_999, 210_000, 400_000, 7], dtype=np.uint32)
    address = np.array([3, 3, 0, 1, 1, 2, 2, 4], dtype=np.uint16)
    store = EventStore(address, times, np.array([0, 7, 8]), np.array([5, 6]), "hash")
    source = EventSource(store, (1, 2, 3), T=10, window_us=300_000)
    expected = np.zeros((2, 18))
    expected[1, [0, 3]], expected[1, 6 + 1], expected[1, 12 + 2] = (1, 2**0.5), 2**0.5, 2**0.5
    expected[0, 4] = 1
    assert counts_per_saccade(source, np.array([1, 0])) == pytest.approx(expected)


def test_the_command_on_real_recordings(shared_data: Path) -> None:
    result = run(f"dataset.root={shared_data}")
    assert result.returncode == 0, result.stderr
    *folds, last = result.stdout.strip().splitlines()[1:]
    accuracies = [float(line.split()[-2]) for line in folds]
    assert len(accuracies) == 5
    assert all(line.split()[1:3] == ["640", "160"] for line in folds)
    assert 90 < np.mean(accuracies) < 96
    assert f"{np.mean(accuracies):.2f}" in last


def test_missing_data_is_one_line(tmp_path: Path) -> None:
    result = run(f"dataset.root={tmp_path}/nowhere")
    assert result.returncode == 2
    assert result.stderr.startswith("ridge_baseline: error: ")
    assert len(result.stderr.splitlines()) == 1

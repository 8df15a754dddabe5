"""Made-up run folders for tests of comparisons: the files of DESIGN.md's contract, without training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

LOSSES = {"activation": "count", "timing": "latency", "hybrid": "latency"}


def make_run(
    folder: Path,
    method: str = "hybrid",
    seed: int = 0,
    acc: float | None = 0.95,
    spikes: float = 100.0,
    *,
    dataset: str = "digits",
    loss: str | None = None,
    T: int = 60,
    epochs: int = 5,
    layers: int = 2,
    config: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write a finished run.

    Args:
        config: dotted keys of config.yaml to add or change; summary.json follows in what both hold.
        changes: of summary.json.
    """
    loss = loss or LOSSES.get(method, "latency")
    test = metrics(acc, spikes, layers)
    summary: dict[str, Any] = {
        "status": "finished", "pid": 1, "host": "somewhere", "error": None, "mode": "train", "method": method,
        "loss": loss, "model": "mlp_small", "dataset": dataset, "T": T, "seed": seed, "epochs": epochs,
        "time": {"train_s": 10.0 + seed / 10, "samples_per_s": 1000.0}, "val": test, "test": test, "group": "made_up",
        "versions": {"snnrun": "0.1.0", "commit": "0123456789ab", "torch": "2.13.0"}, "run_dir": str(folder),
        "started": f"2026-11-24T10:00:{seed % 60:02d}+00:00", "kernel": "cpu", "device": "cpu", "threads": 2,
        "data": {"n_train": 100, "n_val": 10, "n_test": 50, "split_seed": 0, "hash": "abcdef"}, "params": 1000,
        "monitor": "val/acc", "best_epoch": epochs,
    }  # fmt: skip
    summary |= changes
    node: dict[str, Any] = {
        "seed": seed, "mode": "train", "plugins": [], "experiment_name": "made_up", "method": {"name": method},
        "loss": {"name": loss}, "dataset": {"name": dataset, "T": T, "split_seed": 0, "root": None},
        "model": {"name": "mlp_small", "layers": "fc256-out", "alpha_i": 0.97, "alpha_v": 0.97, "beta_v": "auto",
                  "beta_bias": "auto"},
        "optimizer": {"name": "adam", "lr": 0.002}, "trainer": {"epochs": epochs, "threads": None},
        "logger": {"name": "none"},
    }  # fmt: skip
    for key, value in (config or {}).items():
        *path, last = key.split(".")
        place = node
        for name in path:
            place = place.setdefault(name, {})
        place[last] = value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.yaml").write_text(yaml.safe_dump(node, sort_keys=False))
    rows = [epoch_row(epoch, acc, spikes, layers) for epoch in range(1, epochs + 1)]
    rows.append({"epoch": epochs, "step": 10 * epochs, **{f"test/{key}": value for key, value in test.items()}})
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "test_curve.json").write_text(json.dumps(curve(acc, spikes, T)))
    return folder


def add_overrides(folder: Path, *overrides: str) -> None:
    """What Hydra keeps of a job's command line."""
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))


def metrics(acc: float | None, spikes: float, layers: int = 2) -> dict[str, float | None]:
    shares = np.linspace(1.0, 0.1, layers) / np.linspace(1.0, 0.1, layers).sum()
    per_layer = {f"spikes/layer{index}": spikes * share for index, share in enumerate(shares)}
    return {
        "loss": 0.4, "acc": acc, "acc_count": acc, "acc_first": acc, "undecided": 0.0, "latency": 20.0,
        "spikes": spikes, "spikes_to_decision": spikes * 0.6, "synops": spikes * 90, "spikes_per_correct": None,
        **per_layer, **{key.replace("spikes/", "spikes_to_decision/"): 0.6 * value for key, value in per_layer.items()},
    }  # fmt: skip


def epoch_row(epoch: int, acc: float | None, spikes: float, layers: int = 2) -> dict[str, Any]:
    rise = 1 - math.exp(-epoch / 5)
    now = metrics(None if acc is None else acc * rise, spikes * (1.5 - 0.5 * rise), layers)
    return {
        "epoch": epoch, "step": 10 * epoch, "lr": 2e-3, "train/loss": 2 - rise, "train/acc": acc,
        **{f"val/{key}": value for key, value in now.items()}, "time/epoch_s": 1.0,
    }  # fmt: skip


def curve(acc: float | None, spikes: float, T: int) -> dict[str, Any]:
    steps = list(range(T))
    rise = [1 / (1 + math.exp((T / 3 - t) / (T / 20))) for t in steps]
    return {
        "step": steps, "acc": None if acc is None else [acc * value for value in rise],
        "decided": rise, "spikes": [spikes * (t + 1) / T for t in steps],
    }  # fmt: skip

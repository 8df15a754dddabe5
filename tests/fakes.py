"""A made-up run for tests of observers: everything an observer can see, without training."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from snnrun.observers.base import Evidence, LayerInfo, Outcome, Progress, Raster, Row, RunInfo

T, CLASSES = 60, 10
LAYERS = (LayerInfo("fc128", (128,), 8320, 0.62, 0.03), LayerInfo("fc10", (10,), 1290, 0.48, 0.1))


def run_info(run_dir: Path, **changes: Any) -> RunInfo:
    """A run of digits, 5 epochs of 32 steps, with any field changed."""
    run = RunInfo(
        run_dir=run_dir,
        config={
            "seed": 0,
            "experiment_name": "fake",
            "method": {"name": "hybrid", "lambda_act": 1.0, "lambda_tim": 1.0},
            "loss": {"name": "latency", "beta": 1 / 6},
        },
        mode="train",
        method="hybrid",
        loss="latency",
        loss_why="the first choice for digits",
        model="mlp",
        dataset="digits",
        group="fake",
        T=T,
        seed=0,
        epochs=5,
        steps=160,
        data={"n_train": 1017, "n_val": 113, "n_test": 667, "split_seed": 0, "hash": "0" * 16},
        layers=LAYERS,
        params=9610,
        kernel="numba",
        device="cpu",
        threads=2,
        input_shape=(1, 8, 8),
    )
    return dataclasses.replace(run, **changes)


def metrics(acc: float | None = 0.9, spikes: float = 90.0, latency: float = 20.0) -> dict[str, float | None]:
    """Every key of a validation or test result, two spiking layers."""
    return {
        "loss": 0.4,
        "acc": acc,
        "acc_count": None if acc is None else acc - 0.05,
        "acc_first": acc,
        "undecided": 0.01,
        "latency": latency,
        "spikes": spikes,
        "spikes/layer0": spikes - 5,
        "spikes/layer1": 5.0,
        "spikes_to_decision": spikes * 0.6,
        "spikes_to_decision/layer0": spikes * 0.6 - 1,
        "spikes_to_decision/layer1": 1.0,
        "spikes_per_correct": spikes / acc if acc else None,
        "synops": spikes * 40,
    }


def epoch_row(epoch: int, labelled: bool = True, **changes: float | None) -> dict[str, float | int | None]:
    """The row of an epoch on a plausible course; accuracy peaks in epoch 4."""
    rise = 1 - math.exp(-epoch / 2)
    acc = 0.95 * rise - 0.08 * max(0, epoch - 4) if labelled else None
    validation = metrics(acc, 150 - 60 * rise, 40 - 20 * rise)
    row: dict[str, float | int | None] = {
        "epoch": epoch,
        "step": 32 * epoch,
        "lr": 1e-3,
        "train/loss": 2.3 - 2 * rise,
        "train/acc": rise if labelled else None,
        "train/spikes": 155 - 60 * rise,
        **{f"val/{key}": value for key, value in validation.items()},
        "rate/layer0": 0.6,
        "rate/layer1": 0.5,
        "silent/layer0": 0.05,
        "silent/layer1": 0.0,
        "grad_norm/layer0": 0.02,
        "grad_norm/layer1": 0.07,
        "time/epoch_s": 1.25,
        "time/samples_per_s": 904.0,
    }
    return row | changes


def rows(epochs: int = 5, tested: bool = True, labelled: bool = True) -> list[Row]:
    """Rows of metrics.jsonl; the test last."""
    result: list[Row] = [epoch_row(epoch, labelled) for epoch in range(1, epochs + 1)]
    if tested:
        test = {f"test/{key}": value for key, value in metrics(0.91 if labelled else None).items()}
        result.append({"epoch": epochs, "step": 32 * epochs, **test})
    return result


def progress(step: int, acc: float | None = 0.5) -> Progress:
    return Progress(1 + (step - 1) // 32, 5, step, 160, loss=1.2, acc=acc, spikes=120.0, samples_per_s=900.0)


def raster(seed: int = 0, sizes: tuple[int, ...] = (64, 128, CLASSES), decision_step: int = 18) -> Raster:
    """Spikes of each layer [T, neurons], later and fewer with depth; the label's output spikes first."""
    generator = np.random.default_rng(seed)
    layers = []
    for depth, neurons in enumerate(sizes):
        spikes = np.zeros((T, neurons), bool)
        fired = generator.random(neurons) < 0.6
        step = np.clip(generator.normal(8 + 8 * depth, 4, neurons), 0, T - 1).astype(int)
        spikes[step[fired], np.flatnonzero(fired)] = True
        layers.append((f"layer{depth - 1}" if depth else "input", spikes))
    layers[-1][1][:decision_step] = False
    layers[-1][1][decision_step, 7] = True
    return Raster(layers, label=7, prediction=7, decision_step=decision_step)


def silent_raster() -> Raster:
    layers = [("input", np.zeros((T, 64), bool)), ("layer0", np.zeros((T, CLASSES), bool))]
    return Raster(layers, label=3, prediction=-1, decision_step=T)


def evidence(labelled: bool = True, sample: Raster | None = None) -> Evidence:
    confusion = np.random.default_rng(0).integers(0, 3, (CLASSES, CLASSES + 1))
    confusion += 60 * np.eye(CLASSES, CLASSES + 1, dtype=confusion.dtype)
    steps = list(range(T))
    curve = {"step": steps, "acc": [0.9] * T if labelled else None, "decided": [1.0] * T, "spikes": [90.0] * T}
    return Evidence(curve, confusion if labelled else None, sample or raster())


def outcome(run: RunInfo, status: str = "finished", epochs: int = 5, labelled: bool = True) -> Outcome:
    """How the run ended; its rows and summary agree."""
    finished = status == "finished"
    all_rows = rows(epochs, tested=finished, labelled=labelled)
    best = max(all_rows[:epochs], key=lambda row: row["val/acc"] or 0.0, default={})
    summary = {
        "status": status,
        "error": None if finished else "stopped by signal 2",
        "mode": run.mode,
        "method": run.method,
        "loss": run.loss,
        "dataset": run.dataset,
        "seed": run.seed,
        "epochs": epochs,
        "monitor": run.monitor,
        "best_epoch": best.get("epoch", 0),
        "val": {key.removeprefix("val/"): value for key, value in best.items() if key.startswith("val/")},
        "test": metrics(0.91 if labelled else None) if finished else {},
        "time": {"train_s": 6.25, "samples_per_s": 904.0},
        "run_dir": str(run.run_dir),
    }
    return Outcome(summary, all_rows, evidence(labelled) if finished else None)

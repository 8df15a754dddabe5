"""The one training loop, for every method, loss, data set and model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnrun import checkpoint
from snnrun.data import Data, Split, batches, shuffled
from snnrun.errors import DivergedError
from snnrun.kernels import KERNELS
from snnrun.losses import Loss, Targets
from snnrun.metrics import Metrics, decide, higher_is_better, layer_names, rank
from snnrun.observers.base import Observer, Progress, Row
from snnrun.optim import Optimizer, Scheduler, Stored
from snnrun.registry import param
from snnrun.snn import Events, Network, Trace
from snnrun.step import gradient_step, loss_of
from snnrun.stop import Stop


@dataclass
class TrainerOptions:
    """Options of the training loop.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        kernel: auto (the fastest that runs on the device), reference (plain PyTorch), cpu (numba) or cuda (Triton).
        threads: CPU threads; null: all cores.
        monitor: validation metric that selects best.pt; on data without labels val/loss stands in for accuracies.
        grad_clip: gradients are clipped element by element to +- this; null: not at all.
        patience: stop after this many epochs without a new best; null: never.
        eval_batch_size: batch size of validation and test.
    """

    epochs: int = param(10, ge=1)
    batch_size: int = param(32, ge=1)
    eval_batch_size: int = param(100, ge=1)
    device: str = "auto"
    kernel: str = param("auto", choices=("auto", *KERNELS))
    threads: int | None = param(None, ge=1)
    monitor: str = "val/acc"
    grad_clip: float | None = param(1.0, gt=0)
    patience: int | None = param(None, ge=1)

    def torch_device(self) -> torch.device:
        """The device that ``device`` stands for: auto takes a GPU where there is one."""
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(auto if self.device == "auto" else self.device)


@dataclass
class Trainer:
    """Trains a network; validation selects ``checkpoints/best.pt``.

    Attributes:
        seed: decides the order of the samples.
        workers: processes that prepare batches.
        stored_config: written into every checkpoint.
        rows: what metrics.jsonl holds so far.
        best: validation metrics of the best epoch.
    """

    network: Network
    loss: Loss
    data: Data
    optimizer_options: Optimizer
    scheduler_options: Scheduler
    options: TrainerOptions
    seed: int
    workers: int
    stored_config: Mapping[str, Any]
    observer: Observer
    run_dir: Path
    device: torch.device
    stop: Stop

    def __post_init__(self) -> None:
        self.steps_per_epoch = -(-len(self.data.train) // self.options.batch_size)
        self.steps = self.options.epochs * self.steps_per_epoch
        self.stored = Stored(self.network)
        self.optimizer = self.optimizer_options.build(self.stored.parameters)
        self.scheduler = self.scheduler_options.build(self.optimizer, self.options.epochs, self.steps_per_epoch)
        self.labelled = self.data.train.source.labels is not None
        self.monitor = monitored(self.options.monitor, self.labelled)
        self.epoch = self.step = 0
        self.rows: list[Row] = []
        self.best: Mapping[str, float | None] = {}
        self.best_epoch = 0
        self.train_s = 0.0

    def fit(self) -> None:
        """Train until the last epoch, or until validation stops improving.

        Raises:
            Interrupted: a stop signal came; the step was finished and last.pt written.
            DivergedError: loss or gradients are not finite; the last good checkpoint stays.
        """
        with self.stop.deferred():
            for epoch in range(1, self.options.epochs + 1):
                started = time.perf_counter()
                self.epoch = epoch
                row: dict[str, float | int | None] = {
                    "epoch": epoch,
                    "step": 0,
                    "lr": self.optimizer.param_groups[0]["lr"],
                }
                row |= self.train_epoch()
                trained_s = time.perf_counter() - started
                self.train_s += trained_s
                validation = self.evaluate(self.data.val)
                row["step"] = self.step
                row |= {f"val/{key}": value for key, value in validation.result().items()}
                for name, rate, silent in zip(
                    layer_names(len(validation.silent())), validation.rates(), validation.silent(), strict=True
                ):
                    row |= {f"rate/{name}": rate, f"silent/{name}": silent}
                row["time/epoch_s"] = time.perf_counter() - started
                row["time/samples_per_s"] = len(self.data.train) / trained_s
                self.keep_best(row)
                self.save("last.pt")
                self.rows.append(row)
                self.observer.row(row)
                patience = self.options.patience
                if patience is not None and epoch - self.best_epoch >= patience:
                    break

    def train_epoch(self) -> dict[str, float | None]:
        """One pass over the training samples; means over the epoch."""
        order = shuffled(len(self.data.train), self.seed, self.epoch)
        parts = batches(self.data.train, self.options.batch_size, self.workers, order)
        totals = {"loss": 0.0, "acc": 0.0, "spikes": 0.0}
        norms = torch.zeros(len(self.network.synapses), dtype=torch.float64, device=self.device)
        samples, started = 0, time.perf_counter()
        self.network.train()
        for batch in parts:
            spikes, targets = batch.to(self.device)
            loss, norm, trace = self.train_step(spikes, targets)
            size = batch.size
            samples += size
            norms += norm
            totals["loss"] += loss * size
            with torch.no_grad():
                totals["spikes"] += sum(layer.total.item() for layer in trace.layers)
                if targets.label is not None:
                    prediction = decide(trace.output.s).of(self.loss.decision)
                    totals["acc"] += (prediction == targets.label).sum().item()
            self.observer.step(
                Progress(
                    epoch=self.epoch,
                    epochs=self.options.epochs,
                    step=self.step,
                    steps=self.steps,
                    loss=totals["loss"] / samples,
                    acc=totals["acc"] / samples if self.labelled else None,
                    spikes=totals["spikes"] / samples,
                    samples_per_s=samples / (time.perf_counter() - started),
                )
            )
            self.stop_if_requested()
        means: dict[str, float | None] = {f"train/{key}": total / samples for key, total in totals.items()}
        if not self.labelled:
            means["train/acc"] = None
        mean_norms = (norms / self.steps_per_epoch).tolist()
        return means | {
            f"grad_norm/{name}": norm for name, norm in zip(layer_names(len(norms)), mean_norms, strict=True)
        }

    def train_step(self, spikes: Tensor | Events, targets: Targets) -> tuple[float, Tensor, Trace]:
        """One optimizer step; returns the loss, the norm of each layer's weight gradient, and the trace."""
        self.network.zero_grad()
        loss, trace = gradient_step(self.network, self.loss, spikes, targets)
        gradients = self.stored.take_gradients()
        norms = torch.stack([_norm(gradient) for gradient in gradients if gradient.dim() > 1])
        finite = torch.isfinite(norms).all() and all(torch.isfinite(g).all() for g in gradients if g.dim() == 1)
        if not (torch.isfinite(loss) and finite):
            what = "loss" if not torch.isfinite(loss) else "gradient"
            raise DivergedError(
                f"the {what} is not finite in epoch {self.epoch}, step {self.step + 1}",
                f"Lower optimizer.lr ({self.optimizer_options.lr:g} now); checkpoints of earlier epochs are kept",
            )
        if self.options.grad_clip is not None:
            for gradient in gradients:
                gradient.clamp_(-self.options.grad_clip, self.options.grad_clip)
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        return loss.item(), norms, trace

    def evaluate(self, split: Split) -> Metrics:
        """Accuracy and efficiency of the network on a split."""
        size = self.options.eval_batch_size
        return evaluate(self.network, self.loss, split, size, self.workers, self.device, self.stop_if_requested)

    def keep_best(self, row: Row) -> None:
        """Write best.pt if the monitored metric is better than ever before; ties go to the lower validation loss."""
        if not self.best or rank(row, self.monitor) > rank(self.best, self.monitor):
            self.best = {key: metric for key, metric in row.items() if key.startswith("val/")}
            self.best_epoch = self.epoch
            self.save("best.pt")

    def stop_if_requested(self) -> None:
        if self.stop.requested:
            self.save("last.pt")
            self.stop.raise_interrupted()

    def save(self, name: str) -> None:
        """Write a checkpoint of everything that training changes."""
        state: dict[str, Any] = {
            "config": dict(self.stored_config),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "best": dict(self.best),
            "best_epoch": self.best_epoch,
        }
        checkpoint.save(self.run_dir / "checkpoints" / name, state)


def monitored(asked: str, labelled: bool) -> str:
    """The metric that selects the best epoch: as asked, or val/loss for an accuracy on data without labels."""
    return asked if labelled or not higher_is_better(asked) else "val/loss"


@torch.no_grad()
def evaluate(
    network: Network,
    loss: Loss,
    split: Split,
    batch_size: int,
    workers: int,
    device: torch.device,
    after_batch: Callable[[], None] = lambda: None,
) -> Metrics:
    """Accuracy and efficiency of a network on a split, from the full window; ``after_batch`` is called in between."""
    metrics = Metrics(loss.decision)
    network.eval()
    for batch in batches(split, batch_size, workers):
        spikes, targets = batch.to(device)
        trace = network(spikes)
        metrics.update(trace, targets.label, loss_of(trace, loss, targets).item())
        after_batch()
    return metrics


def _norm(gradient: Tensor) -> Tensor:
    # row by row, then over rows: one long sum would be cut differently by another number of threads
    rows = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float64)
    norm: Tensor = torch.linalg.vector_norm(rows)
    return norm

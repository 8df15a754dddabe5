"""The one training loop, for every method, loss, data set and model."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnrun import checkpoint
from snnrun.data import Batch, Data, Split, batches, shuffled
from snnrun.distributed import World
from snnrun.errors import DivergedError
from snnrun.evaluation import evaluate
from snnrun.kernels import KERNELS
from snnrun.losses import Loss
from snnrun.metrics import Metrics, decide, higher_is_better, layer_names, rank
from snnrun.observers.base import Observer, Progress, Row
from snnrun.optim import Optimizer, Scheduler, Stored
from snnrun.registry import param
from snnrun.rundir import BEST, LAST
from snnrun.snn import Network, Trace
from snnrun.step import gradient_step
from snnrun.stop import Stop
from snnrun.trainstate import Stopwatch, TrainState


@dataclass
class TrainerOptions:
    """Options of the training loop.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        kernel: auto (the fastest that runs on the device), reference (plain PyTorch), cpu (numba) or cuda (Triton).
        batch_size: samples of an optimizer step, over all processes.
        threads: CPU threads of each process; null: all cores.
        monitor: validation metric that selects best.pt; on data without labels val/loss stands in for accuracies.
        grad_clip: gradients are clipped element by element to +- this; null: not at all.
        patience: stop after this many epochs without a new best; null: never.
        checkpoint_minutes: within an epoch, write last.pt this often; null: only at the end of each epoch.
        eval_batch_size: batch size of validation and test, in each process.
    """

    epochs: int = param(10, ge=1)
    batch_size: int = param(32, ge=1)
    eval_batch_size: int = param(100, ge=1)
    device: str = "auto"
    kernel: str = param("auto", choices=("auto", *KERNELS))
    threads: int | None = param(None, ge=1, le=1024)
    monitor: str = "val/acc"
    grad_clip: float | None = param(1.0, gt=0)
    patience: int | None = param(None, ge=1)
    checkpoint_minutes: float | None = param(10.0, ge=0)

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
        run_facts: what else a checkpoint holds, for whoever goes on from it.
        world: the processes that share every batch; the first one writes.
        at: where the run is; begins at the beginning, or where :meth:`restore` puts it.
        resumed_at: step at which :meth:`restore` put it.
        past, unsaid: rows measured before an interruption, those that observers saw then and one that they did not.
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
    run_facts: Mapping[str, Any]
    observer: Observer
    run_dir: Path
    device: torch.device
    stop: Stop
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.steps_per_epoch = -(-len(self.data.train) // self.options.batch_size)
        self.steps = self.options.epochs * self.steps_per_epoch
        self.stored = Stored(self.network)
        self.optimizer = self.optimizer_options.build(self.stored.parameters)
        self.scheduler = self.scheduler_options.build(self.optimizer, self.options.epochs, self.steps_per_epoch)
        self.labelled = self.data.train.source.labels is not None
        self.monitor = monitored(self.options.monitor, self.labelled)
        self.at = TrainState()
        self.resumed_at: int | None = None
        self.past: list[Row] = []
        self.unsaid: list[Row] = []
        self.watch = Stopwatch()
        self.saved = time.perf_counter()

    def fit(self) -> None:
        """Train until the last epoch, or until validation stops improving.

        Raises:
            Interrupted: a stop signal came; the step was finished and last.pt written.
            DivergedError: loss or gradients are not finite; the last good checkpoint stays.
            OutputError: a checkpoint or a row cannot be written; the last good checkpoint stays.
        """
        at = self.at
        with self.stop.deferred():
            self.save(LAST)
            if at.rows and at.between_epochs and at.best_epoch == at.epoch:
                self.save(BEST)  # the interruption may have come between the two
            for unsaid in self.unsaid:
                self.observer.row(unsaid)
            while not self.is_done():
                if at.between_epochs:
                    at.begin_epoch(self.optimizer.param_groups[0]["lr"], len(self.network.synapses), self.device)
                self.train_epoch()
                validation = self.evaluate(self.data.val)
                if not all(torch.isfinite(parameter).all() for parameter in self.network.parameters()):
                    raise DivergedError("a weight", f"after epoch {at.epoch}", at.lr)
                at.epoch_s += self.watch.lap()
                row: Row = {
                    "epoch": at.epoch,
                    "step": at.step,
                    "lr": at.lr,
                    **at.train_metrics(self.labelled),
                    **{f"val/{key}": value for key, value in validation.result().items()},
                    **_by_layer("rate", validation.rates()),
                    **_by_layer("silent", validation.silent()),
                    "time/epoch_s": at.epoch_s,
                    "time/samples_per_s": len(self.data.train) / at.epoch_train_s,
                }
                is_best = self.is_best(row)
                if is_best:
                    at.best = {key: metric for key, metric in row.items() if key.startswith("val/")}
                    at.best_epoch = at.epoch
                at.rows.append(row)
                self.save(LAST)
                if is_best:
                    self.save(BEST)
                self.observer.row(row)

    def is_done(self) -> bool:
        """Whether the last epoch is over, or ``patience`` epochs have brought no new best."""
        at, patience = self.at, self.options.patience
        stalled = patience is not None and at.epoch - at.best_epoch >= patience
        return at.between_epochs and (at.epoch >= self.options.epochs or stalled)

    def train_epoch(self) -> None:
        """Train on what is left of the epoch: all of it, unless the run was interrupted within."""
        at, size = self.at, self.options.batch_size
        order = shuffled(len(self.data.train), self.seed, at.epoch)[at.batches * size :]
        trained_before = at.samples
        self.watch.restart()
        self.network.train()
        train = self.data.train.in_epoch(self.seed, at.epoch)
        for batch in batches(train, size, self.workers, order, self.world.part):
            samples = min(size, len(self.data.train) - at.batches * size)
            sums, norms = self.train_step(batch.to(self.device), samples)
            at.add(samples, norms, sums)
            at.spend(self.watch.lap())
            self.observer.step(
                Progress(
                    epoch=at.epoch,
                    epochs=self.options.epochs,
                    step=at.step,
                    steps=self.steps,
                    loss=at.mean("loss"),
                    acc=at.mean("acc") if self.labelled else None,
                    spikes=at.mean("spikes"),
                    samples_per_s=(at.samples - trained_before) / (self.watch.last - self.watch.started),
                )
            )
            self.after_batch()

    def train_step(self, batch: Batch, samples: int) -> tuple[dict[str, float], Tensor]:
        """One optimizer step.

        Args:
            batch: this process's part.
            samples: of the whole batch.

        Returns:
            Sums over the whole batch, and the norm of each layer's weight gradient.
        """
        self.network.zero_grad()
        loss, trace = gradient_step(self.network, self.loss, *batch, self.world, samples)
        sums = self.world.totals(self.sums(trace, loss.item(), batch.targets.label, self.world.share(samples)))
        gradients = self.stored.take_gradients()
        norms = torch.stack([_norm(gradient) for gradient in gradients if gradient.dim() > 1])
        finite = torch.isfinite(norms).all() and all(torch.isfinite(g).all() for g in gradients if g.dim() == 1)
        if not (math.isfinite(sums["loss"]) and finite):
            what = "gradient" if math.isfinite(sums["loss"]) else "loss"
            when = f"in epoch {self.at.epoch}, step {self.at.step + 1}"
            raise DivergedError(f"the {what}", when, self.optimizer_options.lr)
        if self.options.grad_clip is not None:
            for gradient in gradients:
                gradient.clamp_(-self.options.grad_clip, self.options.grad_clip)
        self.optimizer.step()
        self.scheduler.step()
        return sums, norms

    @torch.no_grad()
    def sums(self, trace: Trace, loss: float, label: Tensor | None, own: int) -> dict[str, float]:
        """Sums over the samples of a batch that are this process's own: all that were computed, or none."""
        sums = {"loss": loss * own, "spikes": sum(layer.total.item() for layer in trace.layers)}
        if label is not None:
            sums["acc"] = (decide(trace.output.s).of(self.loss.decision) == label).sum().item()
        return {key: value if own else 0.0 * value for key, value in sums.items()}

    def evaluate(self, split: Split) -> Metrics:
        """Accuracy and efficiency of the network on a split."""
        size = self.options.eval_batch_size
        return evaluate(self.network, self.loss, split, size, self.workers, self.device, self.world, self.after_batch)

    def is_best(self, row: Row) -> bool:
        """Whether the monitored metric is better than ever before; ties go to the lower validation loss."""
        return not self.at.best or rank(row, self.monitor) > rank(self.at.best, self.monitor)

    def after_batch(self) -> None:
        """Between two batches of training or validation: stop if asked to, write last.pt if it is due."""
        minutes = self.options.checkpoint_minutes
        if self.stop.agree():
            self.save(LAST)
            self.stop.obey()
        elif minutes is not None and time.perf_counter() - self.saved >= 60 * minutes:
            self.save(LAST)

    def save(self, name: str) -> None:
        """Write a checkpoint of everything that training changes."""
        if not self.world.is_first:
            return
        state: dict[str, Any] = {
            **self.run_facts,
            "config": dict(self.stored_config),
            "network": self.network.state_dict(),
            "steps_needed": self.network.steps_needed,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": checkpoint.random_states(self.device),
            "epoch": self.at.epoch,
            "step": self.at.step,
            "train": self.at.to_dict(),
        }
        checkpoint.save(self.run_dir / name, state)
        self.saved = time.perf_counter()

    def restore(self, state: Mapping[str, Any], rows_told: int) -> None:
        """Go on where a checkpoint was written.

        Args:
            rows_told: so many rows of epochs are in metrics.jsonl. One that is in the checkpoint only, because the
                process was killed in between, is told once more.

        Raises:
            UserError: the checkpoint is of another network, or not whole.
        """
        checkpoint.load_network(self.network, state, LAST)
        with checkpoint.whole(LAST):
            self.network.steps_needed = state["steps_needed"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            self.at = TrainState.from_dict(state["train"], self.device)
            self.resumed_at, rows = self.at.step, self.at.rows
            told = rows_told if rows_told == len(rows) - 1 else len(rows)
            self.past, self.unsaid = rows[:told], rows[told:]
            checkpoint.set_random_states(state["random"], self.device)
            for parameter in self.stored.parameters:
                for moment in self.optimizer.state[parameter].values():
                    if isinstance(moment, Tensor) and moment.dim() and moment.shape != parameter.shape:
                        raise ValueError("the optimizer's state is of another network")


def monitored(asked: str, labelled: bool) -> str:
    """The metric that selects the best epoch: as asked, or val/loss for an accuracy on data without labels."""
    return asked if labelled or not higher_is_better(asked) else "val/loss"


def _by_layer(name: str, values: Sequence[float]) -> Row:
    return {f"{name}/{layer}": value for layer, value in zip(layer_names(len(values)), values, strict=True)}


def _norm(gradient: Tensor) -> Tensor:
    # row by row, then over rows: one long sum would be cut differently by another number of threads
    rows = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float64)
    norm: Tensor = torch.linalg.vector_norm(rows)
    return norm

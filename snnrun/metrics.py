"""Accuracy and spike efficiency, per sample and averaged over a split (keys: README, "What is measured")."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnrun.snn import Trace, first_spike_time


class Decision(NamedTuple):
    """What the output layer decided, per sample [B]. Predictions are -1 without any output spike.

    Attributes:
        by_count: most spikes; by_first: earliest spike; ties go to the lowest index.
        step: of the first output spike, T where undecided.
    """

    by_count: Tensor
    by_first: Tensor
    step: Tensor

    def of(self, kind: str) -> Tensor:
        """The decision that a loss asks for: "count" or "first"."""
        return self.by_first if kind == "first" else self.by_count


def decide(output: Tensor) -> Decision:
    """Both decisions from output spikes [T, B, classes]."""
    first = first_spike_time(output)
    step, by_first = first.min(1)
    undecided = step == output.shape[0]
    by_count = output.sum(0).argmax(1)
    return Decision(by_count.masked_fill(undecided, -1), by_first.masked_fill(undecided, -1), step)


class Metrics:
    """Accumulates the metrics of a split, batch by batch.

    Args:
        decision: "count" or "first", the loss's own decision.
    """

    def __init__(self, decision: str) -> None:
        self.decision = decision
        self.samples = 0
        self.labelled = 0
        self._sums: dict[str, float] = {}
        self._curves: dict[str, np.ndarray] = {}
        self._fired: list[Tensor] = []
        self._confusion: np.ndarray | None = None

    @torch.no_grad()
    def update(self, trace: Trace, label: Tensor | None, loss: float) -> None:
        """Add one batch.

        Args:
            trace: of the full window.
            label: class labels [B], or None.
            loss: mean over the batch.
        """
        output = trace.output.s
        T, batch_size, _ = output.shape
        decision = decide(output)
        self.samples += batch_size
        self._add("loss", loss * batch_size)
        self._add("undecided", (decision.step == T).sum().item())
        self._add("latency", decision.step.sum().item())
        self._add("synops", sum(layer.synops().sum().item() for layer in trace.layers))
        self._add_spikes(trace, decision)
        if label is not None:
            self.labelled += batch_size
            self._add("acc_count", (decision.by_count == label).sum().item())
            self._add("acc_first", (decision.by_first == label).sum().item())
            self._add_confusion(label, decision.of(self.decision), output.shape[2])
        self._add_curve(trace, decision, label)

    def join(self, others: Iterable[Metrics]) -> None:
        """Add what others have accumulated on other samples of the same split."""
        for other in others:
            self.samples += other.samples
            self.labelled += other.labelled
            for name, total in other._sums.items():
                self._add(name, total)
            for name, curve in other._curves.items():
                self._curves[name] = self._curves.get(name, 0.0) + curve
            if other._fired:
                self._add_fired(other._fired)
            if other._confusion is not None:
                self._confusion = other._confusion + (0 if self._confusion is None else self._confusion)

    def result(self) -> dict[str, float | None]:
        """Averages over the samples seen so far, keys as in the README and ``loss``."""
        if not self.samples:
            return {}
        means: dict[str, float | None] = {name: total / self.samples for name, total in self._sums.items()}
        if self.labelled:
            means["acc"] = means[f"acc_{self.decision}"]
            correct = self._sums[f"acc_{self.decision}"]
            means["spikes_per_correct"] = self._sums["spikes"] / correct if correct else None
        else:
            means |= dict.fromkeys(("acc", "acc_count", "acc_first", "spikes_per_correct"))
        order = ("loss", "acc", "acc_count", "acc_first", "undecided")
        return {name: means[name] for name in (*order, *sorted(means.keys() - set(order)))}

    def rates(self) -> list[float]:
        """Spikes per neuron and sample, per spiking layer."""
        return [
            self._sums[f"spikes/layer{index}"] / self.samples / fired.numel() for index, fired in enumerate(self._fired)
        ]

    def silent(self) -> list[float]:
        """Share of neurons that never fired on the whole split, per spiking layer."""
        return [1 - fired.float().mean().item() for fired in self._fired]

    def curve(self) -> dict[str, Any]:
        """Per step t: share decided, accuracy if stopped after t, mean spikes so far."""
        curves = {name: (total / self.samples).tolist() for name, total in self._curves.items()}
        return {"step": list(range(len(curves["decided"]))), "acc": None, **curves}

    def confusion(self) -> np.ndarray | None:
        """Counts [true class, predicted class]; the last column counts undecided samples. None without labels."""
        return self._confusion

    def _add(self, name: str, total: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + total

    def _add_spikes(self, trace: Trace, decision: Decision) -> None:
        self._add_fired([(~layer.silent(trace.steps)).any(0).cpu() for layer in trace.layers])
        last = decision.step.clamp(max=trace.output.s.shape[0] - 1)[None]
        total, total_to_decision = 0.0, 0.0
        for index, layer in enumerate(trace.layers):
            so_far = layer.per_step().cumsum(0)  # [T, B]
            spikes, to_decision = so_far[-1].sum().item(), so_far.gather(0, last).sum().item()
            self._add(f"spikes/layer{index}", spikes)
            self._add(f"spikes_to_decision/layer{index}", to_decision)
            total, total_to_decision = total + spikes, total_to_decision + to_decision
        self._add("spikes", total)
        self._add("spikes_to_decision", total_to_decision)

    def _add_fired(self, fired: list[Tensor]) -> None:
        self._fired = [new | old for new, old in zip(fired, self._fired or fired, strict=True)]

    def _add_confusion(self, label: Tensor, prediction: Tensor, classes: int) -> None:
        if self._confusion is None:
            self._confusion = np.zeros((classes, classes + 1), dtype=np.int64)
        column = prediction.where(prediction >= 0, classes)
        np.add.at(self._confusion, (label.cpu().numpy(), column.cpu().numpy()), 1)

    def _add_curve(self, trace: Trace, decision: Decision, label: Tensor | None) -> None:
        output = trace.output.s
        T = output.shape[0]
        decided = decision.step[None] <= torch.arange(T, device=output.device)[:, None]  # [T, B]
        self._add_to_curve("decided", decided)
        if label is not None:
            if self.decision == "first":
                right = decided & (decision.by_first == label)
            else:
                right = decided & (output.cumsum(0).argmax(2) == label)
            self._add_to_curve("acc", right)
        per_step = torch.stack([layer.per_step() for layer in trace.layers]).sum(0)
        self._add_to_curve("spikes", per_step.cumsum(0))

    def _add_to_curve(self, name: str, per_sample: Tensor) -> None:
        total = per_sample.double().sum(1).cpu().numpy()
        self._curves[name] = self._curves.get(name, 0.0) + total


def layer_names(layers: int) -> list[str]:
    """``layer0`` ... one per spiking layer."""
    return [f"layer{index}" for index in range(layers)]


def metric_keys(layers: int) -> list[str]:
    """Every key of :meth:`Metrics.result` for a network with this many spiking layers."""
    plain = ["loss", "acc", "acc_count", "acc_first", "undecided", "spikes", "spikes_to_decision", "latency", "synops"]
    per_layer = [f"{key}/{name}" for key in ("spikes", "spikes_to_decision") for name in layer_names(layers)]
    return [*plain, "spikes_per_correct", *per_layer]


def higher_is_better(key: str) -> bool:
    """Direction of a metric key: accuracies up, everything else (loss, spikes, latency ...) down."""
    return key.rsplit("/", 1)[-1].startswith("acc")


def rank(row: Mapping[str, float | int | None], monitor: str) -> tuple[float, float]:
    """Orders epochs: a larger rank is a better one. Ties in the monitored metric go to the lower validation loss."""
    sign = 1 if higher_is_better(monitor) else -1
    signed = (row.get(monitor), sign), (row.get("val/loss"), -1)
    first, second = (
        direction * value if value is not None and math.isfinite(value) else -math.inf for value, direction in signed
    )
    return first, second

"""All measurements of one problem: over sizes of change, over spike density, and steps down each gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from snnrun.gradients.agreement import Agreement, agreement
from snnrun.gradients.probes import (
    ALL_WEIGHTS,
    Changes,
    directions,
    gradients_of,
    noise,
    single_weights,
    step_down,
)
from snnrun.gradients.problem import Problem
from snnrun.gradients.subject import Subject

SECANT = "secant"  # no method: what the next larger change of the loss itself predicts
REMEDY = " with remedy"


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        batch: samples.
        networks: initial weights to average over.
        directions: random directions, per network and size.
        weights: single weights, per network, layer and size.
        sizes: of changes in random directions, and of steps, relative to the norm of the weights.
        weight_sizes: of changes of single weights, in root mean squares of their layer.
        rates: spikes per neuron and sample that layers are scaled to, for the dependence on spike density; it is
            measured at the middle one of the sizes.
        batches: over which steps down the gradient are averaged, per network.
    """

    batch: int = 100
    networks: int = 3
    directions: int = 100
    weights: int = 100
    sizes: Sequence[float] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    weight_sizes: Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0)
    rates: Sequence[float] = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    batches: int = 4


class Row(NamedTuple):
    """Agreement of one method's predictions with what the loss does.

    Attributes:
        rate: spikes per neuron that layers were scaled to; None: the network as it is.
        hidden_spikes: per hidden neuron and sample (of output neurons, where there are no others).
        probe: "all weights" (random directions), "one weight of layer0", "one weight of layer1 (output)".
        size: of the change.
        rms_change: root mean square of the real changes.
        noise: of the changes that rounding of float32 weights makes.
    """

    rate: float | None
    hidden_spikes: float
    probe: str
    size: float
    method: str
    networks: int
    probes: int
    loss: float
    rms_change: float
    noise: float
    agreement: Agreement


class StepRow(NamedTuple):
    """Steps down a gradient: share of the loss by which it falls, mean and standard error over networks and batches."""

    method: str
    size: float
    steps: int
    decrease: float
    error: float
    predicted: float
    downwards: float  # share of steps after which the loss is lower


class Compared(NamedTuple):
    """Two methods' gradients: norms, and the cosine between them, means over networks."""

    method: str
    other: str
    norm: float
    cosine: float


class Result(NamedTuple):
    """Everything measured; ``scatter`` holds changes of the first network in random directions, [sizes, probes, 2]."""

    sizes: list[Row]
    density: list[Row]
    steps: list[StepRow]
    compared: list[Compared]
    scatter: Changes


def measure(problem: Problem, plan: Plan, tell: Callable[[str], None] = lambda text: None) -> Result:
    """Measure all; the same numbers for the same problem, plan and number of threads.

    Args:
        tell: hears what is being done.
    """
    networks = 1 if problem.state is not None else plan.networks
    tell("sizes of change")
    subjects = [problem.subject(index, plan.batch) for index in range(networks)]
    rows, scatter = _agreements(problem, subjects, plan, None, plan.sizes, plan.weight_sizes)
    compared = _compared(subjects)
    steps = _steps(problem, plan, networks, tell)
    density: list[Row] = []
    for rate in plan.rates:
        tell(f"spike density: {rate:g} per neuron")
        subjects = [problem.subject(index, plan.batch, rate) for index in range(networks)]
        density += _agreements(problem, subjects, plan, rate, _middle(plan.sizes), _middle(plan.weight_sizes))[0]
    return Result(rows, density, steps, compared, scatter)


def _middle(sizes: Sequence[float]) -> Sequence[float]:
    return [sizes[len(sizes) // 2]]


def _agreements(
    problem: Problem,
    subjects: Sequence[Subject],
    plan: Plan,
    rate: float | None,
    sizes: Sequence[float],
    weight_sizes: Sequence[float],
) -> tuple[list[Row], Changes]:
    """Rows for every probe, size and method; and the first network's changes in random directions."""
    probes: dict[str, tuple[Sequence[float], list[Changes]]] = {ALL_WEIGHTS: (sizes, [])}
    last = len(subjects[0].layers) - 1
    layers = {"one weight of layer0": 0} | ({f"one weight of layer{last} (output)": last} if last else {})
    probes |= {name: (weight_sizes, []) for name in layers}
    noises, hidden = [], []
    for index, subject in enumerate(subjects):
        gradients = gradients_of(subject)
        rng = np.random.default_rng([problem.seed, index, 0])
        noises.append(noise(subject, rng))
        *below, top = subject.spikes(subject.weights)
        hidden.append(_per_neuron(subject, below) if below else top)
        probes[ALL_WEIGHTS][1].append(directions(subject, gradients, sizes, plan.directions, rng))
        for name, layer in layers.items():
            rng = np.random.default_rng([problem.seed, index, 1 + layer])
            probes[name][1].append(single_weights(subject, gradients, layer, weight_sizes, plan.weights, rng))
    facts = {
        "rate": rate,
        "hidden_spikes": float(np.mean(hidden)),
        "networks": len(subjects),
        "loss": float(np.mean([subject.loss_here for subject in subjects])),
        "noise": float(np.sqrt(np.mean(np.square(noises)))),
    }
    rows = [row for name, (each, changes) in probes.items() for row in _rows(facts, name, each, changes, problem.seed)]
    return rows, probes[ALL_WEIGHTS][1][0]


def _per_neuron(subject: Subject, hidden: Sequence[float]) -> float:
    neurons = [int(np.prod(spec.out_shape)) for spec in subject.network.specs if spec.kind in ("dense", "conv")]
    return float(np.average(hidden, weights=neurons[:-1]))


def _rows(
    facts: Mapping[str, float | int | None], probe: str, sizes: Sequence[float], changes: Sequence[Changes], seed: int
) -> list[Row]:
    real = np.stack([each.real for each in changes])  # [networks, sizes, probes, 2]
    predicted = {name: np.stack([each.predicted[name] for each in changes]) for name in changes[0].predicted}
    order = np.argsort(sizes)
    rows = []
    for rank, h in enumerate(order):
        known = {name: each[:, h] for name, each in predicted.items()}
        if rank + 1 < len(order):
            larger = order[rank + 1]
            known[SECANT] = real[:, larger] * sizes[h] / sizes[larger]
        for method, each in known.items():
            found = agreement(each, real[:, h], np.random.default_rng([seed, 2]))
            rows.append(
                Row(
                    probe=probe,
                    size=float(sizes[h]),
                    method=method,
                    probes=real.shape[2],
                    rms_change=float(np.sqrt((real[:, h] ** 2).mean())),
                    agreement=found,
                    **facts,  # type: ignore[arg-type]
                )
            )
    return rows


def _compared(subjects: Sequence[Subject]) -> list[Compared]:
    gradients = [gradients_of(subject) for subject in subjects]
    rows = []
    for method in subjects[0].networks:
        for other in subjects[0].networks:
            norms = [float(np.linalg.norm(each[method])) for each in gradients]
            cosines = [_cosine(each[method], each[other]) for each in gradients]
            rows.append(Compared(method, other, float(np.mean(norms)), float(np.mean(cosines))))
    return rows


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else float("nan")


def _steps(problem: Problem, plan: Plan, networks: int, tell: Callable[[str], None]) -> list[StepRow]:
    """Steps on several batches; for a method with a hook on weight gradients, also with what the hook adds."""
    variants = {name: (name, False) for name in problem.methods}
    variants |= {name + REMEDY: (name, True) for name, method in problem.methods.items() if method.has_weight_hook}
    found: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for index in range(networks):
        for number in range(min(plan.batches, problem.whole_batches(plan.batch))):
            tell(f"steps down the gradient, network {index + 1}, batch {number + 1}")
            subject = problem.subject(index, plan.batch, number=number)
            for variant, (name, with_hook) in variants.items():
                gradient = subject.gradient(name, with_hook)
                for size in plan.sizes:
                    found.setdefault((variant, size), []).append(step_down(subject, gradient, size))
    rows = []
    for (variant, size), steps in found.items():
        real, predicted = np.array(steps).T
        error = float(real.std(ddof=1) / np.sqrt(len(real))) if len(real) > 1 else float("nan")
        rows.append(
            StepRow(
                variant, size, len(real), float(real.mean()), error, float(predicted.mean()), float((real > 0).mean())
            )
        )
    return rows

"""Finite changes of the weights, what each method predicts for them, and what the loss really does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from snnrun.gradients.subject import Subject

_ROUNDING = 1e-12  # of the loss: below, a change is no more than rounding of sums in double precision
_NOISE_DRAWS = 16
ALL_WEIGHTS = "all weights"


class Changes(NamedTuple):
    """Of the loss, over probes made forwards and backwards.

    Attributes:
        real: L(W + h d) - L(W), [sizes, probes, 2]; exactly 0 where it is rounding.
        predicted: by each method, the gradient times the change of the weights, same shape.
    """

    real: np.ndarray
    predicted: dict[str, np.ndarray]


def gradients_of(subject: Subject) -> dict[str, np.ndarray]:
    """Each method's gradient [N]."""
    return {name: subject.gradient(name) for name in subject.networks}


def directions(
    subject: Subject, gradients: Mapping[str, np.ndarray], sizes: Sequence[float], count: int, rng: np.random.Generator
) -> Changes:
    """Random directions through all weights: Gaussian, scaled so that a layer's part is as long as its weights.

    A change of size h so moves every layer by h times its norm (as Li et al. 2018 normalise by layer).
    """
    drawn = []
    for _ in range(count):
        d = rng.standard_normal(len(subject.weights))
        for where in subject.layers:
            d[where] *= np.linalg.norm(subject.weights[where]) / np.linalg.norm(d[where])
        drawn.append(d)
    return _measure(subject, gradients, sizes, drawn)


def single_weights(
    subject: Subject,
    gradients: Mapping[str, np.ndarray],
    layer: int,
    sizes: Sequence[float],
    count: int,
    rng: np.random.Generator,
) -> Changes:
    """Single weights of a layer, drawn among those whose input spikes; sizes are in root mean squares of the layer."""
    candidates = subject.reached(layer)
    if not len(candidates):  # nothing below it fires: any weight will do, none has an effect
        candidates = np.arange(subject.layers[layer].start, subject.layers[layer].stop)
    unit = np.sqrt((subject.weights[subject.layers[layer]] ** 2).mean())
    drawn = []
    for index in rng.choice(candidates, count, replace=len(candidates) < count):
        d = np.zeros(len(subject.weights))
        d[index] = unit
        drawn.append(d)
    return _measure(subject, gradients, sizes, drawn)


def noise(subject: Subject, rng: np.random.Generator) -> float:
    """Root mean square of what the loss does when every weight moves by one float32 rounding step, up or down.

    Real changes below it say nothing about the weights: they could be arithmetic.
    """
    weights = subject.weights.astype(np.float32)
    changes = []
    for _ in range(_NOISE_DRAWS):
        towards = np.where(rng.random(len(weights)) < 0.5, np.float32(-np.inf), np.float32(np.inf))
        changes.append(_change(subject, np.nextafter(weights, towards).astype(np.float64)))
    return float(np.sqrt(np.mean(np.square(changes))))


class Step(NamedTuple):
    """One step of gradient descent: by how much of itself the loss falls, and by how much it was predicted to."""

    decrease: float
    predicted: float


def step_down(subject: Subject, gradient: np.ndarray, size: float) -> Step:
    """A step against a gradient, as long as ``size`` times all weights; no step where the gradient is zero."""
    length = np.linalg.norm(gradient)
    if length == 0 or subject.loss_here == 0:
        return Step(0.0, 0.0)
    change = -size * np.linalg.norm(subject.weights) / length * gradient
    real = _change(subject, subject.weights + change)
    return Step(-real / subject.loss_here, float(-gradient @ change) / subject.loss_here)


def _measure(
    subject: Subject, gradients: Mapping[str, np.ndarray], sizes: Sequence[float], drawn: Sequence[np.ndarray]
) -> Changes:
    shape = (len(sizes), len(drawn), 2)
    real, predicted = np.zeros(shape), {name: np.zeros(shape) for name in gradients}
    for place in np.ndindex(*shape):
        h, probe, backwards = place
        there = subject.weights + (-1) ** backwards * sizes[h] * drawn[probe]
        there = there.astype(np.float32).astype(np.float64)  # predict for the change that is made, rounding included
        real[place] = _change(subject, there)
        for name, gradient in gradients.items():
            predicted[name][place] = gradient @ (there - subject.weights)
    return Changes(real, predicted)


def _change(subject: Subject, weights: np.ndarray) -> float:
    change = subject.loss_at(weights) - subject.loss_here
    return change if abs(change) > _ROUNDING * abs(subject.loss_here) else 0.0

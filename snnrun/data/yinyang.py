"""The Yin-Yang data set (Kriener, Goeltz & Petrovici, NICE 2022, arXiv 2102.08211), generated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnrun.data.dataset import MOST_STEPS
from snnrun.data.images import ImageDataset, Images
from snnrun.data.report import Reporter
from snnrun.registry import param, register

_BIG, _SMALL = 0.5, 0.1  # radius of the disk, of the two dots
_LEVELS = 1000
_TRAIN_SEED, _TEST_SEED = 42, 40


def classify(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Class of points in the disk of radius 0.5 around (0.5, 0.5), numbered as published: 2 is a dot, 0 and 1 halves.

    An S of two half circles cuts the disk. Half 1 is the upper one, plus the left half circle, minus the right one.
    """
    right, left = np.hypot(x - 1.5 * _BIG, y - _BIG), np.hypot(x - 0.5 * _BIG, y - _BIG)
    dot = (right < _SMALL) | (left < _SMALL)
    upper = (y > _BIG) & (right > 0.5 * _BIG)
    in_left_bulge = left <= 0.5 * _BIG
    return np.where(dot, 2, np.where(upper | in_left_bulge, 1, 0))


def generate(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [size, 2] and classes [size]; classes take turns, each filled by rejection sampling."""
    rng = np.random.default_rng(seed)
    wanted = np.arange(size) % 3
    points = np.empty((size, 2))
    missing = np.arange(size)
    while len(missing):
        draws = rng.random((len(missing), 2)) * 2 * _BIG
        x, y = draws.T
        inside = np.hypot(x - _BIG, y - _BIG) <= _BIG
        hit = inside & (classify(x, y) == wanted[missing])
        points[missing[hit]] = draws[hit]
        missing = missing[~hit]
    return points, wanted


@register("dataset", "yinyang")
@dataclass
class YinYang(ImageDataset):
    """Inputs x, y, 1 - x, 1 - y in thousandths, latency coded, and a bias that spikes at step 0.

    5,000 samples to train on, 1,000 for validation, 1,000 for the test, as published; the same for every seed.
    """

    shape = (5,)
    outputs = 3
    k_max = _LEVELS

    T: int = param(60, ge=1, le=MOST_STEPS)
    t_last: int = param(32, ge=0)
    val_share: float | None = param(1 / 6, gt=0, lt=1)

    def images(self, report: Reporter) -> tuple[Images, Images]:
        return _pixels(6000, _TRAIN_SEED), _pixels(1000, _TEST_SEED)


def _pixels(size: int, seed: int) -> Images:
    points, classes = generate(size, seed)
    inputs = np.concatenate([points, 1 - points, np.ones((size, 1))], axis=1)
    return np.rint(inputs * _LEVELS).astype(np.uint16), classes.astype(np.int64)

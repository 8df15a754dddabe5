"""Stratified samples: every class keeps its share, to within one sample."""

from __future__ import annotations

import numpy as np


def stratified_split(
    labels: np.ndarray | None, indices: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split ``indices`` into (rest, part), the part holding round(share * n) samples; both sorted."""
    part = stratified_sample(labels, indices, round(share * len(indices)), seed)
    return np.setdiff1d(indices, part), part


def folds(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Fold 0..number - 1 of every sample, int64 [n]: classes are shuffled and dealt out one after the other.

    Sizes of folds, and counts of a class in them, differ by no more than one.
    """
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % number
    return fold


def stratified_sample(labels: np.ndarray | None, indices: np.ndarray, size: int | None, seed: int) -> np.ndarray:
    """Draw ``size`` of ``indices`` without replacement, stratified by ``labels[indices]``; sorted.

    Class quotas follow the largest remainder, so they add up to ``size`` exactly. All indices where size is None or not
    smaller than their number; a plain draw where there are no labels.
    """
    if size is None or size >= len(indices):
        return indices
    rng = np.random.default_rng(seed)
    if labels is None:
        return np.sort(rng.permutation(indices)[:size])
    classes, counts = np.unique(labels[indices], return_counts=True)
    exact = counts * (size / len(indices))
    quotas = np.floor(exact).astype(int)
    by_remainder = np.argsort(-(exact - quotas), kind="stable")
    quotas[by_remainder[: size - quotas.sum()]] += 1
    chosen = [
        rng.permutation(indices[labels[indices] == label])[:quota] for label, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen))

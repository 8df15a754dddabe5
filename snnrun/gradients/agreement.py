"""How well predicted changes agree with real ones: correlation, cosine, sign, scale, each with a bootstrap interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_RESAMPLES = 1000
_LEVEL = 0.95


class Estimate(NamedTuple):
    """A mean over networks, and its 95 % bootstrap interval; nan where there is nothing to compare."""

    value: float
    low: float
    high: float


class Agreement(NamedTuple):
    """Of predicted changes p and real changes r of the loss.

    Attributes:
        correlation: Pearson's, of p and r; 0 where a method predicts no change at all.
        cosine: sum p r / sqrt(sum p^2 sum r^2), which also counts a change that all probes share.
        sign: share of real changes other than 0 whose sign is predicted; a prediction of 0 counts half, as a coin
            would.
        odd: correlation with the odd part of r, (r(+d) - r(-d)) / 2, which a gradient could predict at best; the even
            part is curvature, and spikes that appear or vanish either way.
        scale: least-squares factor from p to r, 1 for a derivative.
        unchanged: share of probes after which the loss is what it was.
        silent: share of probes for which exactly no change is predicted.
    """

    correlation: Estimate
    cosine: Estimate
    sign: Estimate
    odd: Estimate
    scale: Estimate
    unchanged: float
    silent: float


def agreement(predicted: np.ndarray, real: np.ndarray, rng: np.random.Generator) -> Agreement:
    """Compare predicted and real changes, both [networks, probes, 2]: each probe is made forwards and backwards.

    Statistics are taken per network and averaged. The bootstrap draws networks, and within each its probes (a probe's
    two directions stay together), with replacement.
    """
    m, n, _ = real.shape
    moments = np.concatenate([_moments(predicted, real), _moments(*map(_odd, (predicted, real)))], axis=2)
    value = _statistics(moments.sum(1))  # [m, 5]
    weights = rng.multinomial(n, np.full(n, 1 / n), size=(_RESAMPLES, m)).astype(float)
    drawn = _statistics(np.einsum("bmn,mnk->bmk", weights, moments))
    networks = rng.multinomial(m, np.full(m, 1 / m), size=_RESAMPLES).astype(float)
    means = _mean(drawn, networks)  # [resamples, 5]
    center = _mean(value[None], np.ones((1, m)))[0]
    correlation, cosine, sign, odd, scale = (
        Estimate(float(mean), *_interval(means[:, k])) for k, mean in enumerate(center)
    )
    unchanged, silent = float((real == 0).mean()), float((predicted == 0).mean())
    return Agreement(correlation, cosine, sign, odd, scale, unchanged, silent)


def _odd(change: np.ndarray) -> np.ndarray:
    odd: np.ndarray = (change[..., :1] - change[..., 1:]) / 2
    return odd


def _moments(p: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Sums over the directions of each probe, [networks, probes, 8]; statistics need no more of them."""
    scales = [np.sqrt((x**2).mean((1, 2), keepdims=True)) for x in (p, r)]
    p, r = (x / np.where(scale > 0, scale, 1) for x, scale in zip((p, r), scales, strict=True))
    right = np.where(p == 0, 0.5, np.sign(p) == np.sign(r)) * (r != 0)
    ratio = np.where(scales[0] > 0, scales[1] / np.where(scales[0] > 0, scales[0], 1), np.nan)
    parts = [np.ones_like(p), p, r, p * p, r * r, p * r, right, (r != 0).astype(float)]
    sums = np.stack([part.sum(2) for part in parts], axis=2)
    return np.concatenate([sums, np.broadcast_to(ratio, (*sums.shape[:2], 1)) / sums.shape[1]], axis=2)


def _statistics(sums: np.ndarray) -> np.ndarray:
    """correlation, cosine, sign, odd, scale from summed moments [..., 18] of the changes and of their odd parts."""
    *_, pp, rr, pr, right, changed, ratio = np.moveaxis(sums[..., :9], -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.where(rr > 0, np.where(pp > 0, pr / np.sqrt(pp * rr), 0.0), np.nan)
        sign = right / np.where(changed > 0, changed, np.nan)
        scale = np.where(pp > 0, pr / pp, np.nan) * ratio
    return np.stack([_pearson(sums[..., :9]), cosine, sign, _pearson(sums[..., 9:]), scale], axis=-1)


def _pearson(sums: np.ndarray) -> np.ndarray:
    count, p, r, pp, rr, pr, *_ = np.moveaxis(sums, -1, 0)
    var_p, var_r = count * pp - p * p, count * rr - r * r
    nothing = 1e-12 * count * count
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (count * pr - p * r) / np.sqrt(var_p * var_r)
    return np.where(var_r > nothing, np.where(var_p > nothing, found, 0.0), np.nan)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over networks of [..., networks, k], those without a value left out."""
    there = np.isfinite(values)
    total = (weights[..., None] * there).sum(-2)
    summed = (weights[..., None] * np.where(there, values, 0.0)).sum(-2)
    mean: np.ndarray = np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan)
    return mean


def _interval(drawn: np.ndarray) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return np.nan, np.nan
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)

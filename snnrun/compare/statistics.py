"""Means, deviations, and the 95 % interval of a difference (scipy).

Intervals are percentile bootstraps with the levels widened for small samples (Hesterberg 2015, "What Teachers Should
Know About the Bootstrap", The American Statistician 69(4), section 5.3): a plain percentile interval of n values is too
narrow by about sqrt((n - 1) / n) and misses what Student's t adds. BCa is not used: its correction is estimated from
n jackknife values, which for three seeds corrects nothing. No bootstrap of n values reaches beyond their extremes,
which hold the true mean in at most 1 - 2^(1-n) of all cases: 75 % for n = 3. So an interval of fewer than 5 counts as
rough, and "more than noise" asks more than that the interval leaves out 0: Student's t interval must leave it out too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 9_999
ROUGH_BELOW = 5
_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A mean over runs.

    Attributes:
        sd: sample deviation (n - 1), None for a single run.
    """

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """A mean minus a baseline's.

    Attributes:
        mean: of the pairs' differences, or difference of the means.
        low, high: its 95 % interval, None where a single run gives none.
        beyond_noise: the bootstrap's and Student's 95 % intervals both leave out 0.
        paired: over pairs of runs with the same seed.
        n: pairs, or runs of both.
    """

    mean: float
    low: float | None
    high: float | None
    beyond_noise: bool
    paired: bool
    n: tuple[int, int]

    @property
    def is_rough(self) -> bool:
        """Whether the interval comes from too few runs to be trusted to a few per cent."""
        return self.low is not None and min(self.n) < ROUGH_BELOW


def estimate(values: Mapping[Any, float]) -> Estimate | None:
    """Mean and sample deviation; None without values."""
    if not values:
        return None
    array = np.array(list(values.values()))
    return Estimate(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None, len(array))


def difference(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> Difference | None:
    """Mean of ours minus mean of theirs; None where one side has no values.

    Paired where both have the same keys, or at least half of them and two: then over what both have.
    """
    if not ours or not theirs:
        return None
    common = [key for key in ours if key in theirs]
    if len(common) >= min(2, len(ours), len(theirs)) and 2 * len(common) >= max(len(ours), len(theirs)):
        pairs = np.array([ours[key] - theirs[key] for key in common])
        return _paired(pairs)
    return _unpaired(np.array(list(ours.values())), np.array(list(theirs.values())))


def _paired(pairs: np.ndarray) -> Difference:
    n, mean = len(pairs), float(pairs.mean())
    if n == 1:
        return Difference(mean, None, None, False, True, (1, 1))
    error = float(pairs.std(ddof=1)) / math.sqrt(n)
    interval = _bootstrap((pairs,), n) if _varies(error, pairs) else (mean, mean)
    return Difference(mean, *interval, _beyond(mean, error, n - 1, interval), True, (n, n))


def _unpaired(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    mean, n = float(ours.mean() - theirs.mean()), (len(ours), len(theirs))
    if min(n) == 1:
        return Difference(mean, None, None, False, False, n)
    parts = [float(values.var(ddof=1)) / len(values) for values in (ours, theirs)]
    error = math.sqrt(sum(parts))
    if not _varies(error, np.concatenate([ours, theirs])):
        return Difference(mean, mean, mean, mean != 0, False, n)
    # Welch & Satterthwaite's degrees of freedom
    freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (ours, theirs), strict=True))
    interval = _bootstrap((ours, theirs), freedom + 1)
    return Difference(mean, *interval, _beyond(mean, error, freedom, interval), False, n)


def _varies(error: float, values: np.ndarray) -> bool:
    """Whether values differ by more than rounding; a bootstrap of equal ones has no distribution."""
    return error > 1e-12 * float(np.abs(values).max())


def _beyond(mean: float, error: float, freedom: float, interval: tuple[float, float]) -> bool:
    from scipy import stats

    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return abs(mean) > reach and not interval[0] <= 0 <= interval[1]


def _bootstrap(samples: tuple[np.ndarray, ...], n: float) -> tuple[float, float]:
    """Percentile interval of the mean, or of the difference of two means, at levels widened for n values."""
    from scipy import stats

    tail = float(stats.norm.sf(math.sqrt(n / (n - 1)) * stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)))
    result = stats.bootstrap(
        samples,
        _mean if len(samples) == 1 else _mean_difference,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=1 - 2 * max(tail, 1 / RESAMPLES),
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _mean(values: np.ndarray, axis: int) -> Any:
    return values.mean(axis)


def _mean_difference(ours: np.ndarray, theirs: np.ndarray, axis: int) -> Any:
    return ours.mean(axis) - theirs.mean(axis)

"""Statistics of comparisons against numbers worked out by hand, and their behaviour with few or equal values."""

import math

import numpy as np
import pytest
from made_up_runs import make_run
from scipy import stats

from snnrun.compare.report import compare
from snnrun.compare.sentences import footnotes, sentences
from snnrun.compare.statistics import Difference, difference, estimate


def seeds(*values: float, first: int = 0) -> dict[tuple[int], float]:
    return {(first + index,): value for index, value in enumerate(values)}


def test_mean_and_sample_deviation() -> None:
    found = estimate(seeds(1.0, 2.0, 4.5))
    assert found is not None
    assert found.mean == 2.5
    assert found.sd == pytest.approx(math.sqrt((1.5**2 + 0.5**2 + 2**2) / 2))
    assert estimate(seeds(7.0)) == (type(found))(7.0, None, 1)
    assert estimate({}) is None


def test_pairs_take_away_what_seeds_share() -> None:
    # values that vary widely over seeds, differences that do not: 0.5, 0.6, 0.7
    gap = difference(seeds(1.5, 9.6, 5.7), seeds(1.0, 9.0, 5.0))
    assert gap is not None
    assert gap.paired
    assert gap.n == (3, 3)
    assert gap.mean == pytest.approx(0.6)
    # 27 equally likely resamples of 3; levels widened for n = 3 reach to the extremes
    assert (gap.low, gap.high) == (pytest.approx(0.5), pytest.approx(0.7))
    assert gap.is_rough
    # Student's t: 0.6 +- 4.303 * 0.1 / sqrt(3) = [0.35, 0.85]
    assert gap.beyond_noise
    unpaired = difference(seeds(1.5, 9.6, 5.7), seeds(1.0, 9.0, 5.0, first=10))
    assert unpaired is not None
    assert not unpaired.paired
    assert not unpaired.beyond_noise


def test_three_seeds_are_no_proof() -> None:
    """All differences above 0, so that no bootstrap can reach 0; Student's t does: 2 +- 4.303 * 1.732 / sqrt(3)."""
    gap = difference(seeds(1.0, 1.0, 4.0), seeds(0.0, 0.0, 0.0))
    assert gap is not None
    assert gap.low is not None
    assert gap.low > 0
    assert not gap.beyond_noise


def test_the_interval_widens_as_students_t_does() -> None:
    values = np.random.default_rng(3).normal(size=12)
    gap = difference(dict(enumerate(values)), dict.fromkeys(range(12), 0.0))
    assert gap is not None
    assert gap.low is not None
    assert gap.high is not None
    t = stats.t.interval(0.95, 11, loc=values.mean(), scale=values.std(ddof=1) / math.sqrt(12))
    assert gap.low == pytest.approx(t[0], abs=0.1)
    assert gap.high == pytest.approx(t[1], abs=0.1)
    assert not gap.is_rough


@pytest.mark.parametrize("n", [3, 5])
def test_noise_is_rarely_taken_for_a_difference(n: int) -> None:
    """Equal distributions: "beyond noise" in about one of twenty, however few the seeds."""
    rng = np.random.default_rng(n)
    draws = 200
    found = [difference(dict(enumerate(rng.normal(size=n))), dict(enumerate(rng.normal(size=n)))) for _ in range(draws)]
    assert sum(gap is not None and gap.beyond_noise for gap in found) <= 0.1 * draws


def test_equal_differences_have_no_distribution() -> None:
    gap = difference(seeds(0.75, 0.5), seeds(0.5, 0.25))
    assert gap == Difference(0.25, 0.25, 0.25, True, True, (2, 2))
    none = difference(seeds(0.5, 0.5), seeds(0.5, 0.5))
    assert none == Difference(0.0, 0.0, 0.0, False, True, (2, 2))
    rounding = difference(seeds(0.1 + 0.2, 0.3), seeds(0.3, 0.1 + 0.2))
    assert rounding is not None
    assert not rounding.beyond_noise
    unpaired = difference(seeds(2.0, 2.0), seeds(1.0, 1.0, first=7))
    assert unpaired == Difference(1.0, 1.0, 1.0, True, False, (2, 2))


def test_one_run_gives_no_interval() -> None:
    assert difference(seeds(0.9), seeds(0.8)) == Difference(pytest.approx(0.1), None, None, False, True, (1, 1))
    lone = difference(seeds(0.9), seeds(0.8, 0.7, 0.6, first=5))
    assert lone is not None
    assert lone.low is None
    assert difference({}, seeds(1.0)) is None


def test_pairs_that_only_one_side_lost() -> None:
    gap = difference(seeds(1.0, 2.0, 3.0, 4.0), seeds(0.0, 1.5, 2.0, 3.0, 9.0))
    assert gap is not None
    assert gap.paired
    assert gap.n == (4, 4)
    assert gap.mean == pytest.approx(np.mean([1.0, 0.5, 1.0, 1.0]))
    few = difference(seeds(1.0, 2.0, first=3), seeds(0.0, 1.5, 2.0, 3.0, 9.0))
    assert few is not None
    assert not few.paired


def test_the_same_numbers_every_time() -> None:
    ours, theirs = seeds(0.91, 0.93, 0.95, 0.9, 0.92), seeds(0.9, 0.9, 0.94, 0.91, 0.9)
    assert difference(ours, theirs) == difference(ours, theirs)


def test_the_sentence(tmp_path) -> None:
    for seed, (ours, theirs) in enumerate([(97.4, 97.0), (97.6, 97.0), (97.8, 97.5), (97.5, 97.1), (97.7, 97.2)]):
        make_run(tmp_path / f"a{seed}", "activation", seed, theirs / 100, 100 + seed)
        make_run(tmp_path / f"h{seed}", "hybrid", seed, ours / 100, 69 + seed)
    (table,) = compare([tmp_path]).tables
    (sentence,) = sentences(table)
    # mean of 0.4, 0.6, 0.3, 0.4, 0.5 and its interval; 71 spikes for 102
    assert sentence == "hybrid 97.6 ± 0.2 %, +0.4 [0.3, 0.6] points over activation with 30 % fewer spikes, 5 seeds"
    assert not any("rough" in line for line in footnotes(table))


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([0.9], [0.95], "hybrid 90.0 %, -5.0 points against activation with as many spikes, one seed: no interval"),
        (
            [0.9, 0.92, 0.94],
            [0.9, 0.93, 0.94],
            "hybrid 92.0 ± 2.0 %, -0.3 [-1.0, 0.0] points against activation (no more than noise) with as many spikes, "
            "3 seeds (rough)",
        ),
    ],
)
def test_other_sentences(tmp_path, ours: list[float], theirs: list[float], expected: str) -> None:
    for seed, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        make_run(tmp_path / f"a{seed}", "activation", seed, their)
        make_run(tmp_path / f"h{seed}", "hybrid", seed, our)
    (table,) = compare([tmp_path]).tables
    assert sentences(table) == [expected]
    notes = " ".join(footnotes(table))
    assert ("no deviation, no interval" in notes) == (len(ours) == 1)
    assert ("rough: " in notes) == (len(ours) == 3)


def test_more_spikes_and_none(tmp_path) -> None:
    for seed in range(5):
        make_run(tmp_path / f"a{seed}", "activation", seed, 0.9 + seed / 1000, 10 + seed / 10)
        make_run(tmp_path / f"h{seed}", "hybrid", seed, 0.95, 120 + seed)
        make_run(tmp_path / f"t{seed}", "timing", seed, 0.1, 0.0)
    (table,) = compare([tmp_path]).tables
    hybrid, timing = sentences(table)
    assert "with 12.0 times the spikes" in hybrid
    assert "with 0.0 spikes instead of 10.2" in timing


def test_seeds_that_differ_are_said_to(tmp_path) -> None:
    for seed in range(5):
        make_run(tmp_path / f"a{seed}", "activation", seed, 0.90 + 0.001 * seed)
        make_run(tmp_path / f"h{seed}", "hybrid", seed + 10, 0.95 + 0.001 * seed)
        if seed < 4:
            make_run(tmp_path / f"t{seed}", "timing", seed, 0.92 + 0.002 * seed)
    (table,) = compare([tmp_path]).tables
    hybrid, timing = sentences(table)
    assert hybrid.endswith("5 and 5 seeds, unpaired")
    assert timing.endswith("4 seeds that both have (rough)")


def test_the_best_is_marked_only_beyond_noise(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for seed in range(5):
        shared = 0.01 * rng.normal()
        make_run(tmp_path / f"a{seed}", "activation", seed, 0.80 + shared + 0.01 * rng.normal(), 50 + rng.normal())
        make_run(tmp_path / f"h{seed}", "hybrid", seed, 0.80 + shared + 0.01 * rng.normal(), 99 + rng.normal())
        make_run(tmp_path / f"t{seed}", "timing", seed, 0.60 + shared, 70 + rng.normal())
    (table,) = compare([tmp_path]).tables
    best = {row.group.label: row.best for row in table.rows}
    assert "spikes" in best["activation"]
    assert not any("acc" in keys for keys in best.values())  # two of them are alike


def test_times_of_different_machines_are_not_ranked(tmp_path) -> None:
    for seed in range(5):
        make_run(tmp_path / f"a{seed}", "activation", seed, time={"train_s": 5.0 + 0.1 * seed})
        make_run(tmp_path / f"h{seed}", "hybrid", seed, time={"train_s": 9.0 + 0.2 * seed})
    (table,) = compare([tmp_path]).tables
    assert ["train_s" in row.best for row in table.rows] == [True, False]
    make_run(tmp_path / "h4", "hybrid", 4, time={"train_s": 9.8}, threads=16)
    (table,) = compare([tmp_path]).tables
    assert not any("train_s" in row.best for row in table.rows)

"""Comparisons: what is pointed out about groups."""

from pathlib import Path
from typing import Any

import pytest
from comparisons import three_methods
from made_up_runs import make_run

from snnrun.compare.report import compare
from snnrun.kernels import unit_beta


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"trainer.epochs": 50}}, "hybrid: runs of different trainer.epochs (5, 50); --by trainer.epochs"),
        ({"T": 100}, "hybrid: runs of different T (60, 100)"),
        ({"config": {"dataset.split_seed": 1}}, "hybrid: runs of different data splits (dataset.split_seed 0, 1)"),
        ({"data": {"hash": "fedcba"}}, "hybrid: runs of different data (hash) (abcdef, fedcba)"),
        ({"versions": {"snnrun": "0.2.0", "commit": "ba9876"}}, "hybrid: runs of different code versions"),
    ],
)
def test_a_group_that_mixes(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    three_methods(tmp_path)
    assert compare([tmp_path]).tables[0].warnings == []
    make_run(tmp_path / "2_2", "hybrid", 2, **change)
    assert any(said in line for line in compare([tmp_path]).tables[0].warnings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"config": {"optimizer.lr": 0.1}},
            "groups differ in optimizer.lr as well (0.002: activation, timing; 0.1: hybrid)",
        ),
        (
            {"data": {"hash": "fedcba"}},
            "groups come from different data (hash) (abcdef: activation, timing; fedcba: hybrid)",
        ),
        ({"versions": {"snnrun": "0.2.0", "commit": "x"}}, "groups come from different code versions"),
    ],
)
def test_groups_that_differ_in_more(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    three_methods(tmp_path)
    for seed in range(3):
        make_run(tmp_path / f"2_{seed}", "hybrid", seed, **change)
    assert any(said in line for line in compare([tmp_path]).tables[0].warnings)


def test_options_of_the_method_itself_are_no_surprise(tmp_path: Path) -> None:
    three_methods(tmp_path)
    for seed in range(3):
        make_run(tmp_path / f"1_{seed}", "timing", seed, config={"method.penalty": 100, "loss.beta": 0.1})
    assert compare([tmp_path]).tables[0].warnings == []


@pytest.mark.parametrize(("T", "differ"), [(20, True), (100, False)])
def test_automatic_betas_that_depend_on_the_window(tmp_path: Path, T: int, differ: bool) -> None:
    for seed in range(2):
        make_run(tmp_path / f"a{seed}", "hybrid", seed, T=60)
        make_run(tmp_path / f"b{seed}", "hybrid", seed, T=T)
    assert (unit_beta(0.97, 0.97, 60) != unit_beta(0.97, 0.97, T)) == differ
    warnings = compare([tmp_path], ["method", "dataset.T"]).tables[0].warnings
    assert any("automatic betas differ" in line for line in warnings) == differ
    fixed = {"model.beta_v": 0.05, "model.beta_bias": 0.05}
    for seed in range(2):
        make_run(tmp_path / f"b{seed}", "hybrid", seed, T=T, config=fixed)
        make_run(tmp_path / f"a{seed}", "hybrid", seed, T=60, config=fixed)
    warnings = compare([tmp_path], ["method", "dataset.T"]).tables[0].warnings
    assert not any("automatic betas differ" in line for line in warnings)

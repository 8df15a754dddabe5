"""Plots of comparisons: written as PNG and SVG, complete, whatever the groups are."""

import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_runs import curve, make_run

from snnrun.compare.curves import anytime, band, learning
from snnrun.compare.looks import looks_of, save
from snnrun.compare.plots import accuracy_spikes, decision_time, draw, learning_curves, pareto_front
from snnrun.compare.report import Comparison, compare
from snnrun.compare.runs import Run, find

ALL = {"accuracy_spikes", "learning_curves", "decision_time", "spikes_per_layer"}


def drawn(comparison: Comparison, folder: Path, notes: int = 0) -> set[str]:
    """Names of plots; each must be there as PNG and SVG of a sensible size."""
    paths, said = draw(comparison, folder)
    assert len(said) == notes, said
    for path in paths:
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content[:8] == b"\x89PNG\r\n\x1a\n"
            width, height = struct.unpack(">II", content[16:24])
            assert 600 <= width <= 3000, path.name
            assert 400 <= height <= 3000, path.name
        else:
            assert ElementTree.fromstring(content).tag.endswith("svg")
    assert {path.stem for path in paths if path.suffix == ".png"} == {
        path.stem for path in paths if path.suffix == ".svg"
    }
    return {path.stem for path in paths}


def many(top: Path, groups: int, seeds: int = 2, **changes: Any) -> Path:
    for group in range(groups):
        for seed in range(seeds):
            make_run(
                top / f"{group}_{seed}", f"method_{group}", seed, 0.5 + group / 100 + seed / 1000, 10.0 + 30 * group,
                **changes,
            )  # fmt: skip
    return top


@pytest.mark.parametrize("groups", [1, 12])
def test_groups(tmp_path: Path, groups: int) -> None:
    assert drawn(compare([many(tmp_path / "runs", groups, seeds=13 // groups)]), tmp_path / "out") == ALL


def test_of_more_groups_the_best_are_drawn(tmp_path: Path) -> None:
    comparison = compare([many(tmp_path / "runs", 15, seeds=1)])
    paths, notes = draw(comparison, tmp_path / "out")
    assert notes == ["plots show 12 of 15 groups on digits, the best by accuracy"]
    svg = (tmp_path / "out" / "accuracy_spikes.svg").read_text()
    assert len(paths) == 8
    assert "method_14 (1 seed)" in svg
    assert "method_2 (1 seed)" not in svg


def test_names_that_matplotlib_would_hide_or_read_as_formulas(tmp_path: Path) -> None:
    names = ("_hidden", "$x^{", "名前", "x" * 80, "a&b<c>")
    for name in names:
        make_run(tmp_path / "runs" / str(names.index(name)), name)
    assert drawn(compare([tmp_path / "runs"]), tmp_path / "out") == ALL
    svg = (tmp_path / "out" / "spikes_per_layer.svg").read_text()
    for name in ("_hidden", "$x^{", "a&amp;b&lt;c&gt;", "…"):
        assert name in svg


def test_several_data_sets_share_colours(tmp_path: Path) -> None:
    for method, seeds in (("activation", 1), ("timing", 3), ("hybrid", 3)):
        for seed in range(seeds):
            make_run(tmp_path / "runs" / f"d{method}{seed}", method, seed)
            if method != "activation":
                make_run(tmp_path / "runs" / f"n{method}{seed}", method, seed, dataset="nmnist", layers=4)
    comparison = compare([tmp_path / "runs"])
    assert set(looks_of(comparison.tables)) == {"activation", "hybrid", "timing"}
    assert drawn(comparison, tmp_path / "out") == ALL
    svg = (tmp_path / "out" / "learning_curves.svg").read_text()
    assert "digits, 1 to 3 seeds" in svg
    assert "nmnist, 3 seeds" in svg


def test_without_labels(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path / "runs" / str(seed), "hybrid", seed, acc=None)
    assert drawn(compare([tmp_path / "runs"]), tmp_path / "out") == ALL - {"decision_time"}


def test_not_a_single_spike(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path / "runs" / str(seed), "hybrid", seed, acc=0.0, spikes=0.0)
    assert drawn(compare([tmp_path / "runs"]), tmp_path / "out") == ALL


def test_curves_that_are_missing(tmp_path: Path) -> None:
    runs = many(tmp_path / "runs", 2)
    for run in runs.iterdir():
        (run / "metrics.jsonl").unlink()
    (runs / "0_0" / "test_curve.json").write_text("{}")
    assert drawn(compare([runs]), tmp_path / "out", notes=1) == ALL - {"learning_curves"}


def test_curves_of_different_lengths(tmp_path: Path) -> None:
    make_run(tmp_path / "0", "hybrid", 0, 0.8, epochs=10, config={"trainer.epochs": 10})
    make_run(tmp_path / "1", "hybrid", 1, 0.9, epochs=4, config={"trainer.epochs": 10})
    runs = find([tmp_path]).runs
    found = band([learning(run) for run in runs], "epoch", "acc")
    assert found is not None
    assert found.is_cut
    assert list(found.x) == [1, 2, 3, 4]
    rise = 1 - np.exp(-found.x / 5)
    np.testing.assert_allclose(found.mean, 0.85 * rise)
    assert found.sd is not None
    np.testing.assert_allclose(found.sd, rise * 0.1 / np.sqrt(2))


def test_an_anytime_curve_is_the_files(tmp_path: Path) -> None:
    (run,) = find([make_run(tmp_path / "0", "hybrid", acc=0.8, spikes=70.0, T=30)]).runs
    assert isinstance(run, Run)
    read, written = anytime(run), curve(0.8, 70.0, 30)
    for key in ("step", "acc", "spikes", "decided"):
        np.testing.assert_array_equal(read[key], written[key])


def test_pareto_front() -> None:
    spikes, accuracy = [30, 60, 100, 10, 60, 100], [0.9, 0.95, 0.94, 0.5, 0.92, 0.95]
    assert pareto_front(spikes, accuracy) == [3, 0, 1]
    assert pareto_front([], []) == []


def test_axes_name_quantity_and_unit(tmp_path: Path) -> None:
    tables = compare([many(tmp_path, 2)]).tables
    groups = [[[learning(run) for run in row.group.runs.values()] for row in tables[0].rows]]
    timed = [[[anytime(run) for run in row.group.runs.values()] for row in tables[0].rows]]
    texts = {
        figure: [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())]
        for figure in (accuracy_spikes(tables), learning_curves(tables, groups), decision_time(tables, timed))
    }
    scatter, learned, stopped = texts.values()
    assert {"spikes per sample, whole window", "spikes per sample, up to the first output spike"} <= set(scatter)
    assert "accuracy (%)" in scatter
    assert {"epoch", "accuracy (%)", "spikes per sample"} == set(learned)
    assert {"time step", "spikes per sample so far", "accuracy (%)"} == set(stopped)


def test_the_same_runs_give_the_same_files(tmp_path: Path) -> None:
    tables = compare([many(tmp_path, 2)]).tables
    first, second = (save(accuracy_spikes(tables), tmp_path, name) for name in ("one", "two"))
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()

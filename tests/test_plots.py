"""Plots exist, say what they show, and survive runs that have little to show."""

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import fakes
import numpy as np
import pytest

from snnrun.data.report import Quiet
from snnrun.observers import PlotsObserver, plots
from snnrun.observers.base import Evidence, Outcome, Raster, RunInfo

ALL = {"learning_curves.png", "accuracy_spikes.png", "raster.png", "confusion.png"}


class Notes(Quiet):
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def drawn(run: RunInfo, outcome: Outcome) -> set[str]:
    """Names of the plots of a run; none may be left out with a note, and all are PNGs of a sensible size."""
    notes = Notes()
    observer = PlotsObserver(notes)
    observer.start(run)
    for row in outcome.rows:
        observer.row(row)
    observer.finish(outcome)
    assert notes.texts == []
    paths = list((run.run_dir / "plots").iterdir()) if outcome.rows or outcome.evidence else []
    for path in paths:
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert 500 <= width <= 3000, path.name
        assert 300 <= height <= 3000, path.name
    return {path.name for path in paths}


def test_a_finished_run_gets_all_plots(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path)
    assert drawn(run, fakes.outcome(run)) == ALL


def test_one_epoch(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path, epochs=1)
    assert drawn(run, fakes.outcome(run, epochs=1)) == ALL


def test_an_interrupted_run_keeps_what_was_measured(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path)
    assert drawn(run, fakes.outcome(run, "interrupted", epochs=2)) == {"learning_curves.png", "accuracy_spikes.png"}


def test_nothing_measured_nothing_drawn(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path)
    assert drawn(run, fakes.outcome(run, "failed", epochs=0)) == set()
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_draws_the_test_only(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path, mode="test")
    outcome = fakes.outcome(run)
    outcome.rows = outcome.rows[-1:]
    assert drawn(run, outcome) == {"raster.png", "confusion.png"}


def test_data_without_labels(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path, monitor="val/loss")
    outcome = fakes.outcome(run, labelled=False)
    unlabelled = fakes.raster()
    target = unlabelled.layers[-1][1]
    outcome.evidence = fakes.evidence(False, Raster(unlabelled.layers, None, 7, unlabelled.decision_step, target))
    assert drawn(run, outcome) == {"learning_curves.png", "raster.png"}


def test_a_raster_with_target_trains_shows_them_and_no_decision() -> None:
    plain = fakes.raster()
    output = plots.raster(Raster(plain.layers, None, 7, plain.decision_step, plain.layers[-1][1][::-1]), "").axes[-1]
    targets, spikes = output.collections
    step, neuron = np.nonzero(plain.layers[-1][1][::-1])
    assert sorted(map(tuple, targets.get_offsets().tolist())) == sorted(zip(step, neuron, strict=True))
    assert len(spikes.get_offsets()) == len(step)
    assert len(np.unique(spikes.get_facecolor(), axis=0)) == 1  # nothing grey after a decision
    assert not output.lines
    assert not output.patches
    assert "target spikes" in output.texts[0].get_text()


def test_a_network_without_a_single_spike(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path)
    outcome = fakes.outcome(run)
    nothing = {"val/spikes": 0.0, "val/spikes_to_decision": 0.0, "val/acc": 0.0, "val/spikes_per_correct": None}
    outcome.rows = [{**row, **nothing, "grad_norm/layer0": 0.0} if "lr" in row else row for row in outcome.rows]
    outcome.evidence = fakes.evidence(sample=fakes.silent_raster())
    assert drawn(run, outcome) == ALL


@pytest.mark.parametrize("value", [None, math.nan])
def test_values_that_are_missing(tmp_path: Path, value: float | None) -> None:
    run = fakes.run_info(tmp_path)
    outcome = fakes.outcome(run)
    outcome.rows = [{**row, "val/acc": value, "val/loss": value} if row["epoch"] == 2 else row for row in outcome.rows]
    assert drawn(run, outcome) == ALL


def test_large_layers_and_many_classes(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path)
    outcome = fakes.outcome(run)
    counts = np.eye(100, 101, dtype=np.int64)
    outcome.evidence = Evidence({}, counts, fakes.raster(sizes=(2312, 800, 100)))
    assert drawn(run, outcome) == ALL


def test_titles_say_which_run_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    figure = plots.new_figure

    def listening(width: float, height: float, title: str) -> object:
        titles.append(title)
        return figure(width, height, title)

    monkeypatch.setattr(plots, "new_figure", listening)
    run = fakes.run_info(tmp_path, method="timing", dataset="nmnist", loss="count", seed=3)
    drawn(run, fakes.outcome(run))
    assert len(titles) == len(ALL)
    for title in titles:
        assert title.startswith("timing gradient, count loss, nmnist, seed 3")
    assert any("decided for 7, true class 7" in title for title in titles)


def texts(panels: Sequence[object]) -> str:
    return " ".join(f"{p.get_xlabel()} {p.get_ylabel()}" for p in panels)  # type: ignore[attr-defined]


def test_axes_name_quantity_and_unit() -> None:
    epochs = fakes.rows(4, tested=False)
    curves = texts(plots.learning_curves(epochs, "").axes)
    for label in ("epoch", "loss", "accuracy (%)", "spikes per sample", "(step)", "silent neurons (%)"):
        assert label in curves
    scatter = texts(plots.accuracy_spikes(epochs, fakes.metrics(), "").axes)
    assert "spikes per sample" in scatter
    assert "accuracy (%)" in scatter
    assert "time step" in texts(plots.raster(fakes.raster(), "").axes)
    assert "no output spike" in texts(plots.confusion(np.eye(3, 4, dtype=int), "").axes)


def test_a_plot_that_fails_costs_a_note_each(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("in the way")
    run = fakes.run_info(tmp_path)
    notes = Notes()
    observer = PlotsObserver(notes)
    observer.start(run)
    observer.finish(fakes.outcome(run))
    assert len(notes.texts) == len(ALL)
    assert all("could not be drawn" in text for text in notes.texts)

"""The files of a run: strict JSON, written whole."""

import json
import math
import os
from pathlib import Path

import fakes
import pytest
import yaml

from snnrun.errors import OutputError
from snnrun.observers import FilesObserver, write_summary
from snnrun.observers.base import Outcome, RunInfo


def strictly(text: str) -> object:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    return json.loads(text, parse_constant=refuse)


def written(run: RunInfo, outcome: Outcome) -> Path:
    files = FilesObserver()
    files.start(run)
    for row in outcome.rows:
        files.row(row)
    files.finish(outcome)
    return run.run_dir


def test_a_finished_run(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path)
    outcome = fakes.outcome(run)
    folder = written(run, outcome)
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "metrics.jsonl",
        "summary.json",
        "test_curve.json",
    }
    assert yaml.safe_load((folder / "config.yaml").read_text()) == run.config
    assert [strictly(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] == outcome.rows
    assert strictly((folder / "summary.json").read_text()) == outcome.summary
    assert outcome.evidence is not None
    assert strictly((folder / "test_curve.json").read_text()) == outcome.evidence.curve


def test_an_interrupted_run_has_no_curve(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path)
    folder = written(run, fakes.outcome(run, "interrupted", epochs=2))
    assert not (folder / "test_curve.json").exists()
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2


def test_rows_are_on_disk_at_once(tmp_path: Path) -> None:
    files = FilesObserver()
    files.start(fakes.run_info(tmp_path))
    for count, row in enumerate(fakes.rows(3), start=1):
        files.row(row)
        text = (tmp_path / "metrics.jsonl").read_text()
        assert text.endswith("\n")
        assert len(text.splitlines()) == count


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_number_becomes_null(tmp_path: Path, value: float | None) -> None:
    files = FilesObserver()
    files.start(fakes.run_info(tmp_path))
    files.row(fakes.epoch_row(1) | {"val/acc": value})
    row = strictly((tmp_path / "metrics.jsonl").read_text())
    assert isinstance(row, dict)
    assert row["val/acc"] is None
    write_summary(tmp_path, {"val": {"acc": value, "curve": [value, 1.5]}})
    assert strictly((tmp_path / "summary.json").read_text()) == {"val": {"acc": None, "curve": [None, 1.5]}}


def test_a_summary_that_cannot_be_written_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_summary(tmp_path, {"status": "running"})

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_summary(tmp_path, {"status": "finished"})
    assert strictly((tmp_path / "summary.json").read_text()) == {"status": "running"}
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]

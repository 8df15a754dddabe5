"""logger=csv: the rows of metrics.jsonl as a table, and no W&B anywhere near."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import fakes
import pytest
from cli import only_run, rows, snnrun

from snnrun.data.report import Quiet
from snnrun.observers import CsvLogger, FilesObserver, Observer
from snnrun.observers.base import Row


def table(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def expected(run_rows: list[Row]) -> list[dict[str, float]]:
    return [{key: float(value) for key, value in row.items() if value is not None} for row in run_rows]


def as_numbers(lines: list[dict[str, str]]) -> list[dict[str, float]]:
    return [{key: float(cell) for key, cell in line.items() if cell} for line in lines]


def observed(run_dir: Path, run_rows: list[Row], past: Sequence[Row] = ()) -> list[Observer]:
    observers = [FilesObserver(), *CsvLogger().observers(Quiet())]
    for observer in observers:
        observer.start(fakes.run_info(run_dir, past=past))
    for row in run_rows:
        for observer in observers:
            observer.row(row)
    return list(observers)


def test_the_command_line_writes_the_rows_of_metrics_jsonl_without_wandb(tmp_path: Path) -> None:
    (tmp_path / "wandb.py").write_text("raise ImportError('W&B is imported')\n")  # the current folder is found first
    snnrun("debug=fast", "logger=csv", "trainer.epochs=2", cwd=tmp_path, check=True)
    run = only_run(tmp_path)
    assert as_numbers(table(run)) == expected(rows(run))
    assert len(table(run)) == 3
    assert not (run / "wandb").exists()


def test_one_header_holds_for_all_rows(tmp_path: Path) -> None:
    observed(tmp_path, fakes.rows(5))
    header, *lines = (tmp_path / "metrics.csv").read_text().splitlines()
    columns = header.split(",")
    assert len(set(columns)) == len(columns)
    assert columns[:4] == ["epoch", "step", "lr", "train/loss"]
    assert {line.count(",") for line in lines} == {header.count(",")}
    assert len(lines) == 6
    assert as_numbers(table(tmp_path)) == expected(fakes.rows(5))


def test_the_header_is_known_before_the_test(tmp_path: Path) -> None:
    observed(tmp_path, fakes.rows(1, tested=False))
    before = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    observed(tmp_path, fakes.rows(1)[1:], past=fakes.rows(1)[:1])
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == before
    assert "test/spikes_to_decision" in before.split(",")


def test_values_that_are_missing_or_not_finite_are_empty(tmp_path: Path) -> None:
    observed(tmp_path, [fakes.epoch_row(1, labelled=False) | {"train/loss": float("inf")}])
    (line,) = table(tmp_path)
    assert (line["val/acc"], line["train/loss"], line["val/loss"]) == ("", "", "0.4")


def test_a_run_that_goes_on_has_every_row_once(tmp_path: Path) -> None:
    observed(tmp_path, fakes.rows(3, tested=False))
    observed(tmp_path, fakes.rows(3)[2:], past=fakes.rows(3)[:2])  # the checkpoint is of the second epoch
    assert as_numbers(table(tmp_path)) == expected([json.loads(line) for line in _lines(tmp_path)])
    assert [line["epoch"] for line in table(tmp_path)] == ["1", "2", "3", "3"]


def test_an_evaluation_has_a_header_of_its_own(tmp_path: Path) -> None:
    test_row = fakes.rows(1)[-1]
    observed(tmp_path, [test_row])
    assert as_numbers(table(tmp_path)) == expected([test_row])


@pytest.mark.parametrize("logger", ["none", "csv"])
def test_loggers_without_options_refuse_those_of_wandb(tmp_path: Path, logger: str) -> None:
    result = snnrun("debug=fast", f"logger={logger}", "logger.mode=offline", cwd=tmp_path)
    assert result.returncode == 2
    assert "logger.mode is not an option" in result.stderr


def _lines(run_dir: Path) -> list[str]:
    return (run_dir / "metrics.jsonl").read_text().splitlines()


def test_a_logger_of_ones_own_sees_the_run(tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text(
        "from dataclasses import dataclass\n"
        "from snnrun.observers import CsvLogger, Logger\n"
        "from snnrun.registry import register\n"
        "class Shouter:\n"
        "    def start(self, run): print('START', run.method)\n"
        "    def step(self, progress): pass\n"
        "    def row(self, row): print('ROW', row['epoch'])\n"
        "    def finish(self, outcome): outcome.closing.append(' '.join(['DRAWN', *sorted(outcome.plots)]))\n"
        "@register('logger', 'shout')\n"
        "@dataclass\n"
        "class Shout(Logger):\n"
        "    def observers(self, report): return (Shouter(), *CsvLogger().observers(report))\n"
    )
    (tmp_path / "conf" / "logger").mkdir(parents=True)
    (tmp_path / "conf" / "logger" / "shout.yaml").write_text("name: shout\n")
    options = ("--config-dir", "conf", "plugins=[shout]", "logger=shout", "debug=fast")
    lines = snnrun(*options, cwd=tmp_path, check=True).stdout.splitlines()
    assert [line for line in lines if line.startswith(("START", "ROW"))] == ["START hybrid", "ROW 1", "ROW 1"]
    assert lines[-1] == "DRAWN accuracy_spikes confusion learning_curves raster"
    assert len(table(only_run(tmp_path))) == 2

"""Weights & Biases: real offline runs, read back from disk; and a service that is out of reach."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fakes
import pytest
from cli import environment
from PIL import Image
from wandb_files import offline_run, records, state
from wandb_server import serving

from snnrun.data.report import Quiet
from snnrun.observers import Observers, Outcome, RunInfo, WandbLogger, WandbObserver
from snnrun.observers import wandb as ours

KEY = "a" * 40
CHECKPOINT = b"weights"
SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
import fakes, test_wandb_observer
test_wandb_observer.a_whole_run(Path({run_dir!r}), {mode!r}, {log_model})
"""


class Notes(Quiet):
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def one_run(run: RunInfo, status: str = "finished", **options: Any) -> tuple[Notes, Outcome]:
    notes = Notes()
    observer = WandbObserver(WandbLogger(project="tests", **options), notes)
    outcome = fakes.outcome(run, status)
    observer.start(run)
    for row in outcome.rows:
        observer.row(row)
    outcome.plots.update({path.stem: path for path in run.run_dir.glob("plots/*.png")})
    observer.finish(outcome)
    return notes, outcome


def a_whole_run(run_dir: Path, mode: str, log_model: bool) -> None:
    """With plots and perhaps a model; tells on stdout what was noted."""
    run = fakes.run_info(run_dir)
    for folder in ("plots", "checkpoints"):
        (run_dir / folder).mkdir()
    (run_dir / "checkpoints" / "best.pt").write_bytes(CHECKPOINT)
    for name in ("raster", "confusion"):
        Image.new("RGB", (8, 8)).save(run_dir / "plots" / f"{name}.png")
    notes, outcome = one_run(run, mode=mode, log_model=log_model)
    print(json.dumps({"notes": notes.texts, "closing": outcome.closing}))


def in_a_process(run_dir: Path, mode: str, log_model: bool = False, **env: str) -> dict[str, Any]:
    """One run in a process with its own environment; W&B reads it once per process."""
    here = Path(__file__).parent
    script = SCRIPT.format(paths=[str(here), str(here.parent)], run_dir=str(run_dir), mode=mode, log_model=log_model)
    outside = environment(HOME=str(run_dir), **env)
    del outside["WANDB_MODE"]
    command = [sys.executable, "-c", script]
    result = subprocess.run(
        command, capture_output=True, text=True, env=outside, cwd=run_dir, timeout=120, stdin=subprocess.DEVNULL
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_the_summary_is_that_of_the_run(tmp_path: Path) -> None:
    notes, outcome = one_run(fakes.run_info(tmp_path))
    assert notes.texts == []
    read = state(tmp_path)
    assert (read["state"], read["exit_code"], read["project"]) == ("finished", 0, "tests")
    for part, prefix in (("val", "best"), ("test", "test")):
        for key, value in outcome.summary[part].items():
            assert read["summary"][f"{prefix}/{key}"] == value, key


def test_rows_have_the_same_names_numbers_and_steps(tmp_path: Path) -> None:
    _, outcome = one_run(fakes.run_info(tmp_path))
    logged = {record["step"]["num"]: record["item"] for record in records(tmp_path, "history")}
    assert sorted(logged) == [32, 64, 96, 128, 160]
    for row in outcome.rows:
        items = logged[row["step"]]
        assert {key: items[key] for key in row} == row


def test_values_that_are_missing_are_left_out(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path)
    observer = WandbObserver(WandbLogger(), Notes())
    observer.start(run)
    observer.row(fakes.epoch_row(1, labelled=False))
    observer.finish(fakes.outcome(run, labelled=False))
    (record,) = records(tmp_path, "history")
    assert "val/loss" in record["item"]
    assert "val/acc" not in record["item"]
    assert "test/acc" not in state(tmp_path)["summary"]


def test_group_job_type_tags_and_config(tmp_path: Path) -> None:
    run = fakes.run_info(tmp_path, group="sweep_7")
    one_run(run)
    (record,) = records(tmp_path, "run")
    assert (record["run_group"], record["job_type"]) == ("sweep_7", "train")
    assert record["tags"] == ["hybrid", "digits", "latency"]
    assert state(tmp_path)["config"] == run.config


def test_two_runs_in_one_process_are_two_runs(tmp_path: Path) -> None:
    seeds = (0, 1)
    runs = [fakes.run_info(tmp_path / str(seed), config={"seed": seed}, seed=seed) for seed in seeds]
    observers = []
    for run in runs:
        run.run_dir.mkdir()
        observer = WandbObserver(WandbLogger(), Notes())
        observer.start(run)
        observers.append(observer)
    for observer, run in zip(observers, runs, strict=True):
        observer.row(fakes.epoch_row(1) | {"val/acc": 0.5 + run.seed / 4})
        observer.finish(fakes.outcome(run))
    read = [state(run.run_dir) for run in runs]
    assert [content["config"] for content in read] == [{"seed": 0}, {"seed": 1}]
    assert [content["summary"]["val/acc"] for content in read] == [0.5, 0.75]
    assert len({content["run_id"] for content in read}) == 2


def test_the_closing_line_is_a_command_that_finds_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path.parent)
    _, outcome = one_run(fakes.run_info(tmp_path))
    (line,) = outcome.closing
    assert line.startswith("wandb sync ")
    assert Path(line.removeprefix("wandb sync ")).resolve() == offline_run(tmp_path)


def test_a_run_that_was_interrupted_does_not_count_as_finished(tmp_path: Path) -> None:
    one_run(fakes.run_info(tmp_path), status="interrupted")
    assert state(tmp_path)["exit_code"] == 1


def test_disabled_by_environment_logs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    notes, outcome = one_run(fakes.run_info(tmp_path), mode="online")
    assert (notes.texts, outcome.closing) == ([], [])
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_without_a_key_the_run_is_offline_and_nobody_is_asked(tmp_path: Path, mode: str) -> None:
    told = in_a_process(tmp_path, mode)
    assert len(told["notes"]) == (mode == "online")
    assert told["closing"][0].startswith("wandb sync")
    assert state(tmp_path)["exit_code"] == 0


def test_a_malformed_key_costs_one_warning(tmp_path: Path) -> None:
    told = in_a_process(tmp_path, "auto", WANDB_API_KEY="no-key")
    (note,) = told["notes"]
    assert "key" in note
    assert told["closing"][0].startswith("wandb sync")
    assert state(tmp_path)["exit_code"] == 0


def test_online_the_server_has_everything_and_the_line_is_its_address(tmp_path: Path) -> None:
    with serving() as server:
        told = in_a_process(tmp_path, "auto", log_model=True, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
        first, *_ = server.named("UpsertBucket")
        line = f"W&B run: {server.url}/somebody/tests/runs/{first['name']}"
        assert (told["notes"], told["closing"]) == ([line], [line])
        assert {"val/acc", "test/acc", "grad_norm/layer0", "silent/layer1", "plots/raster"} <= server.stream
        summary = json.loads(server.files["wandb-summary.json"])
        assert {"best/acc", "test/acc"} <= set(summary)
        assert len([name for name in server.files if name.endswith(".png")]) == 2
        artifact = server.named("CreateArtifact")[0]["input"]
        assert (artifact["artifactTypeName"], artifact["artifactCollectionName"]) == ("model", f"model-{first['name']}")
        assert {"latest", "best"} == {alias["alias"] for alias in artifact["aliases"]}
        assert server.files["best.pt"] == CHECKPOINT


def test_a_key_that_the_server_refuses_costs_one_warning(tmp_path: Path) -> None:
    with serving(refuses=True) as server:
        told = in_a_process(tmp_path, "online", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
    (note,) = told["notes"]
    assert "refuses the key, logging offline" in note
    assert KEY not in note
    assert told["closing"][0].startswith("wandb sync")
    assert state(tmp_path)["exit_code"] == 0


def test_a_service_out_of_reach_costs_one_warning_and_ten_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    told = in_a_process(tmp_path, "auto", WANDB_API_KEY=KEY, WANDB_BASE_URL="http://127.0.0.1:9")
    assert time.monotonic() - started < 30
    (note,) = told["notes"]
    assert "logging offline" in note
    assert told["closing"][0].startswith("wandb sync")
    assert state(tmp_path)["exit_code"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("leaves_after", ["", "Viewer", "UpsertBucket"])
def test_a_server_that_falls_silent_costs_one_warning_and_half_a_minute(tmp_path: Path, leaves_after: str) -> None:
    started = time.monotonic()
    with serving(silent=not leaves_after, leaves_after=leaves_after) as server:
        told = in_a_process(tmp_path, "auto", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
        assert time.monotonic() - started < 35
    note = told["notes"][-1]
    assert ("has not received all" if leaves_after == "UpsertBucket" else "offline") in note
    command = told["closing"][0].removeprefix("wandb sync ")
    assert (tmp_path / command / f"run-{command.rpartition('-')[2]}.wandb").stat().st_size > 1000


def test_images_that_cannot_be_logged_cost_one_warning(tmp_path: Path) -> None:
    notes = Notes()
    observer = WandbObserver(WandbLogger(), notes)
    run = fakes.run_info(tmp_path)
    outcome = fakes.outcome(run)
    outcome.plots["raster"] = tmp_path / "gone.png"
    observer.start(run)
    observer.finish(outcome)
    (note,) = notes.texts
    assert "plots" in note
    read = state(tmp_path)
    assert (read["exit_code"], read["summary"]["test/acc"]) == (0, outcome.summary["test"]["acc"])


def test_a_model_that_is_gone_costs_one_warning(tmp_path: Path) -> None:
    notes, _ = one_run(fakes.run_info(tmp_path), log_model=True)
    (note,) = notes.texts
    assert "best.pt" in note
    assert state(tmp_path)["exit_code"] == 0


def test_trouble_while_logging_never_reaches_the_run(tmp_path: Path) -> None:
    notes = Notes()
    observer = WandbObserver(WandbLogger(), notes)
    run = fakes.run_info(tmp_path)
    observer.start(run)

    def full(*values: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    observer.run.log = full
    for row in fakes.rows(3):
        observer.row(row)
    observer.finish(fakes.outcome(run))
    (note,) = notes.texts
    assert "No space left" in note
    assert state(tmp_path)["exit_code"] == 1  # W&B must not show a run with missing rows as whole


def test_a_service_that_never_starts_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no service")

    monkeypatch.setattr(ours, "_init", refuse)
    notes, outcome = one_run(fakes.run_info(tmp_path))
    assert len(notes.texts) == 1
    assert outcome.closing == []


def test_one_observer_that_fails_does_not_keep_the_others_from_finishing(tmp_path: Path) -> None:
    finished: list[str] = []

    class Watcher(WandbObserver):
        def __init__(self, name: str) -> None:
            self.name = name

        def finish(self, outcome: Outcome) -> None:
            finished.append(self.name)
            if self.name == "first":
                raise OSError(28, "No space left on device")

    observers = Observers([Watcher("first"), Watcher("second")])
    with pytest.raises(OSError, match="No space left"):
        observers.finish(fakes.outcome(fakes.run_info(tmp_path)))
    assert finished == ["first", "second"]

"""Whole runs through the real command line: what they leave, that they repeat, and that they can be evaluated."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from cli import environment, only_run, rows, run_dirs, snnrun, summary, timeless

import snnrun as package
from snnrun.metrics import metric_keys

FAST = ("debug=fast", "trainer.epochs=2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run."""
    cwd = tmp_path_factory.mktemp("run")
    snnrun(*FAST, cwd=cwd, check=True)
    return only_run(cwd)


def test_a_run_leaves_what_the_contract_says(finished: Path) -> None:
    for name in ("config.yaml", "metrics.jsonl", "summary.json", "test_curve.json", "snnrun.log"):
        assert (finished / name).stat().st_size >= 0, name
    assert {path.name for path in (finished / "checkpoints").iterdir()} == {"best.pt", "last.pt"}
    plots = {path.name for path in (finished / "plots").glob("*.png")}
    assert plots == {"learning_curves.png", "accuracy_spikes.png", "raster.png", "confusion.png"}
    assert (finished / ".hydra" / "config.yaml").exists()
    assert (finished / "wandb").is_dir()
    assert finished.name.endswith("_hybrid_digits_s0")
    assert finished.parent.name == "debug"
    assert [path.name for path in finished.parent.iterdir()] == [finished.name]


def test_summary_holds_every_key_of_the_contract(finished: Path) -> None:
    content = summary(finished)
    keys = "status error mode method loss model dataset T seed epochs val test data kernel device threads params time"
    assert set(keys.split()) | {"group", "versions", "run_dir"} <= content.keys()
    assert (content["status"], content["error"], content["mode"]) == ("finished", None, "train")
    assert content["val"].keys() == content["test"].keys() == set(metric_keys(2))
    assert content["data"].keys() == {"n_train", "n_val", "n_test", "split_seed", "hash"}
    assert (content["data"]["n_train"], content["data"]["n_test"]) == (64, 32)
    assert content["params"] == 64 * 256 + 256 + 256 * 10 + 10
    assert content["time"]["train_s"] > 0
    assert content["versions"]["torch"] == torch.__version__


def test_metrics_rows(finished: Path) -> None:
    content, lines = summary(finished), rows(finished)
    assert [line["epoch"] for line in lines] == [1, 2, 2]
    assert [line["step"] for line in lines] == [4, 8, 8]
    best = max(lines[:-1], key=lambda line: (line["val/acc"], -line["val/loss"]))
    assert {key.removeprefix("val/"): value for key, value in best.items() if key.startswith("val/")} == content["val"]
    assert {f"test/{key}": value for key, value in content["test"].items()}.items() <= lines[-1].items()
    for key in ("lr", "train/loss", "train/acc", "train/spikes", "rate/layer0", "silent/layer1", "grad_norm/layer0"):
        assert math.isfinite(lines[0][key]), key


def test_curve_ends_at_the_test_accuracy(finished: Path) -> None:
    curve = json.loads((finished / "test_curve.json").read_text())
    test = summary(finished)["test"]
    assert len(curve["step"]) == len(curve["acc"]) == len(curve["decided"]) == len(curve["spikes"]) == 60
    assert curve["acc"][-1] == pytest.approx(test["acc"])
    assert curve["spikes"][-1] == pytest.approx(test["spikes"])
    assert 1 - curve["decided"][-1] == pytest.approx(test["undecided"])


def test_wandb_holds_the_same_numbers_under_the_same_names(finished: Path) -> None:
    (offline,) = (finished / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(offline)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
    assert result.returncode == 0, result.stderr
    logged = json.loads(result.stdout)
    content = summary(finished)
    for part, prefix in (("val", "best"), ("test", "test")):
        known = {f"{prefix}/{key}": value for key, value in content[part].items() if value is not None}
        assert known.items() <= logged["summary"].items()
    last = {key: value for key, value in rows(finished)[-1].items() if value is not None}
    assert last.items() <= logged["summary"].items()
    assert logged["config"].items() >= yaml.safe_load((finished / "config.yaml").read_text()).items()
    assert logged["tags"] == ["hybrid", "digits", "latency"]


def test_every_row_is_in_the_wandb_history(finished: Path) -> None:
    (offline,) = (finished / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(offline)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=True)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    history = {item["_step"]: item for record in records if "history" in record for item in [record["history"]["item"]]}
    expected: dict[int, dict[str, float]] = {}
    for row in rows(finished):  # the test's row has the step of the last epoch
        expected.setdefault(row["step"], {}).update({key: value for key, value in row.items() if value is not None})
    assert history.keys() == expected.keys()
    for step, row in expected.items():
        assert row.items() <= history[step].items()
    (run,) = [record["run"] for record in records if "run" in record]
    assert run["run_group"] == summary(finished)["group"] == "debug"
    assert run["job_type"] == "train"


def test_the_console_of_a_pipe_is_plain(tmp_path: Path) -> None:
    result = snnrun(*FAST, cwd=tmp_path, check=True)
    assert "\x1b" not in result.stdout + result.stderr
    assert "\r" not in result.stdout
    for word in ("hybrid", "latency", "digits", "fc256", "test", "synops", "wandb sync"):
        assert word in result.stdout, result.stdout


def test_the_same_seed_gives_the_same_run_to_the_bit(finished: Path, tmp_path: Path) -> None:
    snnrun(*FAST, "dataset.workers=2", cwd=tmp_path, check=True)  # workers change nothing
    again = only_run(tmp_path)
    assert [timeless(row) for row in rows(again)] == [timeless(row) for row in rows(finished)]
    ours, theirs = (
        torch.load(run / "checkpoints" / "last.pt", weights_only=True)["network"] for run in (again, finished)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("method", ["activation", "timing", "hybrid"])
def test_threads_change_nothing_but_the_rounding_of_matrix_products(method: str, tmp_path: Path) -> None:
    for threads in (1, 2):
        snnrun(
            "debug=fast",
            f"method={method}",
            f"trainer.threads={threads}",
            f"experiment_name=t{threads}",
            "logger=none",
            cwd=tmp_path,
            check=True,
        )
    one, two = run_dirs(tmp_path)
    assert (summary(one)["threads"], summary(two)["threads"]) == (1, 2)
    for ours, theirs in zip(rows(one), rows(two), strict=True):
        assert timeless(ours) == pytest.approx(timeless(theirs), rel=1e-5)


def test_another_thread_setting_of_the_worker_changes_no_bit(finished: Path, tmp_path: Path) -> None:
    """A sweep's worker may come with a thread count of its own; trainer.threads decides."""
    threads = summary(finished)["threads"]
    snnrun(*FAST, f"trainer.threads={threads}", "logger=none", cwd=tmp_path, check=True, OMP_NUM_THREADS="1")
    again = only_run(tmp_path)
    assert [timeless(row) for row in rows(again)] == [timeless(row) for row in rows(finished)]


def test_another_seed_gives_another_run_on_the_same_data(finished: Path, tmp_path: Path) -> None:
    snnrun(*FAST, "seed=1", "logger=none", cwd=tmp_path, check=True)
    other = only_run(tmp_path)
    assert summary(other)["data"] == summary(finished)["data"]
    assert [timeless(row) for row in rows(other)] != [timeless(row) for row in rows(finished)]


def test_mode_test_reproduces_the_test_metrics(finished: Path, tmp_path: Path) -> None:
    best = finished / "checkpoints" / "best.pt"
    snnrun("mode=test", f"checkpoint={best}", "trainer.eval_batch_size=7", "logger=none", cwd=tmp_path, check=True)
    evaluated = summary(only_run(tmp_path))
    assert evaluated["mode"] == "test"
    for part in ("test", "val"):
        assert evaluated[part].pop("loss") == pytest.approx(summary(finished)[part]["loss"], rel=1e-5)
        assert evaluated[part].items() <= summary(finished)[part].items()
    assert evaluated["data"] == summary(finished)["data"]


def test_a_stored_config_that_reaches_outside_is_refused(finished: Path, tmp_path: Path) -> None:
    for poison in ({"experiment_name": "${oc.env:HOME}"}, {"hydra": {"run": {"dir": "/tmp/x"}}}):
        state = torch.load(finished / "checkpoints" / "best.pt", weights_only=True)
        state["config"] |= poison
        torch.save(state, tmp_path / "poisoned.pt")
        result = snnrun("mode=test", "checkpoint=poisoned.pt", cwd=tmp_path)
        assert result.returncode == 2
        assert "is refused" in result.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 truncated"])
def test_a_damaged_checkpoint_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    result = snnrun("mode=test", "checkpoint=bad.pt", cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "bad.pt" in result.stderr


def test_a_checkpoint_of_another_network_names_the_difference(finished: Path, tmp_path: Path) -> None:
    state = torch.load(finished / "checkpoints" / "best.pt", weights_only=True)
    state["config"]["model"]["layers"] = "fc64-out"
    torch.save(state, tmp_path / "other.pt")
    result = snnrun("mode=test", "checkpoint=other.pt", cwd=tmp_path)
    assert result.returncode == 2
    assert "stages.1.weight is (256, 64) there and (64, 64) here" in result.stderr


def test_config_yaml_is_complete_and_trains_the_same(finished: Path) -> None:
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["loss"] == {
        "name": "latency",
        "rate_weight": 0.0,
        "beta": 1 / 6,
        "lambda_nospike": 0.5,  # as the digits data set has it
    }
    assert config["method"]["lambda_tim"] == 1.0
    state = torch.load(finished / "checkpoints" / "best.pt", weights_only=True)
    assert state["config"] == config


def test_from_python(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    content = package.run([*FAST, "logger=none"])
    torch.set_num_threads(threads)
    assert content["test"] == summary(finished)["test"]
    network = package.load(str(finished / "checkpoints" / "best.pt"))
    trace = network(torch.ones(60, 2, 1, 8, 8))
    assert trace.output.s.shape == (60, 2, 10)


def test_a_network_loads_where_neither_data_nor_gpu_of_its_training_are(finished: Path, tmp_path: Path) -> None:
    state = torch.load(finished / "checkpoints" / "best.pt", weights_only=True)
    state["config"]["dataset"] = {"name": "mnist", "root": "/not/on/this/machine", "T": 60}
    state["config"]["trainer"]["device"] = "cuda:7"
    state["network"]["stages.1.weight"] = torch.zeros(256, 784)
    torch.save(state, tmp_path / "moved.pt")
    assert package.load(str(tmp_path / "moved.pt"))(torch.ones(60, 1, 1, 28, 28)).output.s.shape == (60, 1, 10)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_all_its_processes_stops_after_the_step_and_saves(signum: int, code: int, tmp_path: Path) -> None:
    """As a terminal, timeout(1) and SLURM send it: to data workers as well, whose batch the step may be waiting for."""
    command = [sys.executable, "-m", "snnrun", "trainer.epochs=200", "logger=none", "dataset.workers=2"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 90
    while not any((run / "metrics.jsonl").exists() for run in run_dirs(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert len(errors.splitlines()) == 1, errors
    run_dir = only_run(tmp_path)
    content = summary(run_dir)
    assert content["status"] == "interrupted"
    state = torch.load(run_dir / "checkpoints" / "last.pt", weights_only=True)
    assert state["step"] >= rows(run_dir)[-1]["step"] > 0


def test_cfg_job_prints_every_option(tmp_path: Path) -> None:
    result = snnrun("--cfg", "job", "method=timing", cwd=tmp_path, check=True)
    printed = yaml.safe_load(result.stdout)
    assert printed["method"] == {"name": "timing", "penalty": 100.0}
    assert printed["loss"]["name"] == "latency"
    assert not (tmp_path / "outputs").exists()


def test_help_names_the_groups(tmp_path: Path) -> None:
    result = snnrun("--help", cwd=tmp_path, check=True)
    assert "method: activation, activation_wide, hybrid, hybrid_wide, timing" in result.stdout


def test_early_stopping_and_schedules(tmp_path: Path) -> None:
    snnrun(
        *FAST,
        "trainer.epochs=9",
        "trainer.patience=1",
        "optimizer.lr=1e-12",
        "scheduler=step",
        "scheduler.every=1",
        "logger=none",
        cwd=tmp_path,
        check=True,
    )
    lines = rows(only_run(tmp_path))
    assert len(lines) == 3  # the first epoch is best, the second brings nothing, then the test
    assert lines[1]["lr"] == pytest.approx(1e-13)


def test_overfit_learns_one_batch(tmp_path: Path) -> None:
    snnrun("debug=overfit", "logger=none", cwd=tmp_path, check=True)
    assert rows(only_run(tmp_path))[-2]["train/acc"] == 1.0

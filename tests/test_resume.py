"""Runs that survive: interrupted by real signals, resumed by the real command, refused where that would lie."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cli import environment, only_run, rows, run_dirs, snnrun, summary
from kills import Killer, popen, results, undisturbed

from snnrun import cli
from snnrun.rundir import BEST, LAST, status

SHORT = ("trainer.threads=1", "trainer.epochs=8", "dataset.limit_train=500", "model.layers=fc64-out")
FAST = ("debug=fast", "logger=none", "trainer.threads=1")


def test_three_kills_cost_nothing(tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and SIGKILL at random moments, data workers on; metrics.jsonl and W&B hold every row once."""
    run_dir, killer = tmp_path / "cut", Killer(tmp_path, seed=time.time_ns())
    signals = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
    killer.kill_until_finished(run_dir, [*SHORT, "dataset.workers=1", "trainer.checkpoint_minutes=0.005"], signals, 0.8)
    print(f"kills survived: {dict(killer.survived)}")
    assert results(run_dir) == undisturbed(tmp_path / "whole", *SHORT)
    assert summary(run_dir)["resumed"] >= 1
    logged = [row for folder in sorted((run_dir / "wandb").glob("offline-run-*")) for row in history(folder)]
    expected = {row["step"]: row for row in rows(run_dir) if "train/loss" in row}
    assert [row["_step"] for row in logged] == list(expected)
    assert all(row["val/loss"] == expected[row["_step"]]["val/loss"] for row in logged)
    assert logged[-1]["test/acc"] == summary(run_dir)["test"]["acc"]
    assert len({folder.name.rpartition("-")[2] for folder in (run_dir / "wandb").glob("offline-run-*")}) == 1


@pytest.mark.slow
def test_thirty_kills(tmp_path: Path) -> None:
    """Of each signal and each method at least ten, some before the first checkpoint, some in the middle of a write."""
    killer, methods = Killer(tmp_path, seed=time.time_ns()), ("activation", "timing", "hybrid")
    expected = {method: undisturbed(tmp_path / method, *SHORT, f"method={method}") for method in methods}
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    kinds, wanted = killer.survived, [*(signum.name for signum in signals), *methods]
    number = 0
    while min(kinds[kind] for kind in wanted) < 10 or kinds["mid-write"] < 3 or kinds["early"] < 3:
        run_dir, method = tmp_path / str(number), methods[number % 3]
        arguments = [*SHORT, f"method={method}", "logger=none", "trainer.checkpoint_minutes=0"]
        arguments.append(f"dataset.workers={number % 2}")
        # the signal goes on by one when all methods have had it, so that each meets each
        kills: list[tuple[int, float, str]] = [(signals[(number + number // 3) % 3], 8, "start")]
        kills.append((signals[2 * (number % 2)], 0, "first write"))
        kills += [(signals[turn % 3], 0.5, "write" if turn % 3 == 2 else "steps") for turn in range(5)]
        kinds[method] += sum(killer.kill(run_dir, arguments, *each) for each in kills)
        killer.kill_until_finished(run_dir, arguments, (), 0)
        assert results(run_dir) == expected[method], run_dir
        number += 1
    total = sum(kinds[signum.name] for signum in signals)
    print(f"{total} kills survived in {number} runs: {dict(kinds)}")


def history(folder: Path) -> list[dict[str, Any]]:
    """Rows that an offline W&B run holds, as they were logged."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=True)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    return [record["history"]["item"] for record in records if "history" in record]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("finished")
    snnrun(*FAST, cwd=cwd, check=True)
    return only_run(cwd)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a refusal."""
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("snnrun: error: ")
    return line


def interrupted(finished: Path, run_dir: Path, **changes: Any) -> Path:
    """A copy of a run, as if it had been interrupted, with changes in its checkpoint."""
    state = torch.load(finished / LAST, weights_only=True)
    (run_dir / "checkpoints").mkdir(parents=True)
    state["config"] |= changes.pop("config", {})
    torch.save(state | changes, run_dir / LAST)
    (run_dir / "config.yaml").write_text(yaml.safe_dump(state["config"]))
    (run_dir / "summary.json").write_text(json.dumps(summary(finished) | {"status": "interrupted"}))
    return run_dir


def test_what_would_train_something_else_is_refused_by_name(finished: Path, capsys: Any) -> None:
    for override in (
        "method=timing",
        "optimizer.lr=1",
        "seed=3",
        "debug=fast",
        "trainer.batch_size=3",
        "~trainer.epochs",
    ):
        line = refused(capsys, f"resume={finished}", override)
        assert f"{override.lstrip('~').split('=')[0]} cannot be changed when a run goes on" in line
        assert "trainer.epochs" in line
    assert "hydra.run.dir cannot be changed" in refused(capsys, f"resume={finished}", "hydra.run.dir=x")
    assert "mode=test does not" in refused(capsys, f"resume={finished}", "mode=test")
    assert "cannot be swept" in refused(capsys, "-m", f"resume={finished}", "seed=0,1")
    assert "method.lambdaa" in refused(capsys, f"resume={finished}", "+method.lambdaa=1")


def test_a_finished_run_is_refused_unless_it_is_to_train_longer(finished: Path, capsys: Any, tmp_path: Path) -> None:
    assert "holds a finished run. To train it longer, add trainer.epochs=N" in refused(capsys, f"resume={finished}")
    assert "finished" in refused(capsys, f"resume={finished}", "trainer.epochs=1")
    run_dir = interrupted(finished, tmp_path / "run", config={"scheduler": {"name": "cosine", "final": 0.0}})
    line = refused(capsys, f"resume={run_dir}", "trainer.epochs=9")
    assert "trainer.epochs cannot be changed with scheduler=cosine" in line


def test_folders_without_anything_to_go_on_from(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "nowhere is not a folder" in refused(capsys, "resume=nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no checkpoint" in refused(capsys, "resume=empty")
    assert "no interrupted run of this config is in outputs/default" in refused(capsys, "resume=auto")


def test_checkpoints_that_do_not_fit(finished: Path, capsys: Any, tmp_path: Path) -> None:
    """Each names what is wrong; none is loaded in part, and nothing is written."""
    good = torch.load(finished / LAST, weights_only=True)
    half = {key: value for key, value in good["train"].items() if key != "norms"}
    other = {name: torch.zeros(3) if name.endswith("bias") else weight for name, weight in good["network"].items()}
    moments = {
        index: {"step": torch.tensor(1.0), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)} for index in range(4)
    }
    cases: list[tuple[dict[str, Any], str]] = [
        ({"version": 1}, "has version 1, this snnrun reads version 2"),
        ({"network": other}, "stages.1.bias is (3,) there and (256,) here"),
        ({"train": half}, "norms is missing"),
        ({"train": good["train"] | {"rows": [{}, {}, {}]}}, "rows and epoch do not agree"),
        ({"train": 7}, "not whole"),
        ({"optimizer": {}}, "not whole"),
        ({"optimizer": good["optimizer"] | {"state": moments}}, "optimizer's state is of another network"),
        ({"random": {"cpu": torch.zeros(3, dtype=torch.uint8), "cuda": None}}, "not whole"),
        ({"threads": -1, "config": {"trainer": good["config"]["trainer"] | {"threads": None}}}, "threads is -1"),
        ({"data": "another"}, "the data are not those that the run was trained on"),
        ({"config": {"experiment_name": "${oc.env:HOME}"}}, "is refused"),
        ({"config": {"hydra": {"run": {"dir": "/tmp/x"}}}}, "is refused"),
        ({"config": {"method": {"name": "stranger"}}}, "plugins=[MODULE]"),
        ({"config": {"trainer": None}}, "the stored config has no trainer"),
    ]
    for number, (changes, says) in enumerate(cases):
        run_dir = interrupted(finished, tmp_path / str(number), **changes)
        assert cli.main([f"resume={run_dir}", "trainer.epochs=2"]) == 2, changes
        assert says in capsys.readouterr().err
        assert status(run_dir) == "interrupted"
    for number, content in enumerate((b"", b"garbage", (finished / LAST).read_bytes()[:5000])):
        run_dir = interrupted(finished, tmp_path / f"damaged{number}")
        (run_dir / LAST).write_bytes(content)
        assert "is damaged" in refused(capsys, f"resume={run_dir}")


def test_auto_takes_the_newest_interrupted_run_of_the_same_config(finished: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs" / "debug"
    older, newest = (interrupted(finished, outputs / name) for name in ("b_older", "a_newest"))
    other = interrupted(finished, outputs / "c_other", config={"seed": 5})
    (interrupted(finished, outputs / "d_finished") / "summary.json").write_text('{"status": "finished"}')
    for age, run_dir in enumerate((outputs / "d_finished", other, newest, older)):
        os.utime(run_dir / LAST, (2e9 - age, 2e9 - age))
    (newest / ".hydra").mkdir()
    before = (newest / "config.yaml").stat().st_mtime_ns
    result = snnrun(*FAST, "resume=auto", "trainer.epochs=2", cwd=tmp_path, check=True)
    assert "goes on after step 4 of 8" in result.stdout
    assert [summary(run)["status"] for run in (older, newest, other)] == ["interrupted", "finished", "interrupted"]
    assert [row["step"] for row in rows(newest)] == [4, 8, 8]
    assert list((newest / ".hydra").iterdir()) == []
    assert (newest / "config.yaml").stat().st_mtime_ns != before
    assert yaml.safe_load((newest / "config.yaml").read_text())["trainer"]["epochs"] == 2
    assert {path.name for path in outputs.iterdir()} == {"a_newest", "b_older", "c_other", "d_finished"}


@pytest.mark.slow
def test_a_plugin_is_imported_only_if_it_is_named_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from pathlib import Path\n"
        "from snnrun.methods import Hybrid\n"
        "from snnrun.registry import register\n"
        "Path('imported').touch()\n"
        "@register('method', 'mine')\n"
        "@dataclass\n"
        "class Mine(Hybrid):\n"
        "    pass\n"
    )
    (tmp_path / "conf" / "method").mkdir(parents=True)
    (tmp_path / "conf" / "method" / "mine.yaml").write_text("name: mine\n")
    snnrun("--config-dir", "conf", "plugins=[mine]", "method=mine", *FAST, cwd=tmp_path, check=True)
    (tmp_path / "imported").unlink()
    result = snnrun(f"resume={only_run(tmp_path)}", "trainer.epochs=2", cwd=tmp_path)
    assert (result.returncode, (tmp_path / "imported").exists()) == (2, False)
    assert "method.name is 'mine', which does not exist" in result.stderr
    snnrun(f"resume={only_run(tmp_path)}", "trainer.epochs=2", "plugins=[mine]", cwd=tmp_path, check=True)
    assert summary(only_run(tmp_path))["epochs"] == 2


def test_a_folder_with_a_run_is_not_begun_again(finished: Path, tmp_path: Path, capsys: Any) -> None:
    run_dir = interrupted(finished, tmp_path / "run")
    line = refused(capsys, *FAST, f"hydra.run.dir={run_dir}")
    assert f"holds an interrupted run. Go on with it by resume={run_dir}, or choose another" in line
    (run_dir / LAST).unlink()
    (run_dir / "metrics.jsonl").write_text("left over\n")
    snnrun(*FAST, f"hydra.run.dir={run_dir}", cwd=tmp_path, check=True)
    assert [row["step"] for row in rows(run_dir)] == [4, 4]


@pytest.mark.slow
def test_a_run_at_work_is_left_alone(finished: Path, tmp_path: Path, capsys: Any) -> None:
    run_dir = interrupted(finished, tmp_path / "run")
    process = popen(f"resume={run_dir}", "trainer.epochs=100000", cwd=tmp_path)
    try:
        while status(run_dir) != "running" and process.poll() is None:
            time.sleep(0.05)
        line = refused(capsys, f"resume={run_dir}")
        assert f"is being written by process {process.pid} on" in line
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert summary(run_dir)["status"] == "running"
    assert status(run_dir) == "interrupted"


def test_who_is_at_work(tmp_path: Path) -> None:
    """A run that says running does so if its process is there, not just any of that number; elsewhere, nobody knows."""
    sleeper, ended = subprocess.Popen(["sleep", "60"]), subprocess.Popen(["true"])
    while Path(f"/proc/{ended.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)  # dead, but not yet waited for
    host = os.uname().nodename

    def said(**process: Any) -> str:
        (tmp_path / "summary.json").write_text(json.dumps({"status": "running", "host": host, **process}))
        return status(tmp_path)

    assert said(pid=sleeper.pid) == "running"
    assert said(pid=sleeper.pid, pid_started=1) == "interrupted"
    assert said(pid=ended.pid) == "interrupted"
    assert said(pid=os.getpid()) == "interrupted"
    assert said() == "interrupted"
    assert said(pid=2**22 + 1) == "interrupted"
    assert said(pid=1, host="elsewhere") == "running"
    assert said(pid=1, host="elsewhere", slurm_job="7") == "running"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_JOB_ID", "7")
        assert said(pid=1, host="elsewhere", slurm_job="7") == "interrupted"
    sleeper.kill()
    sleeper.wait()
    ended.wait()


def test_best_is_of_the_best_epoch(finished: Path) -> None:
    state = torch.load(finished / BEST, weights_only=True)
    assert state["epoch"] == summary(finished)["best_epoch"] == state["train"]["best_epoch"]
    assert len(run_dirs(finished.parents[2])) == 1

"""A sweep that was killed goes on by the same command, and ends as one that was left alone."""

import json
import os
import signal
import time
from pathlib import Path

import yaml
from cli import snnrun, summary
from kills import popen, results, undisturbed

from snnrun.rundir import LAST, status

SWEEP = ("-m", "method=activation,hybrid", "trainer.threads=1", "trainer.epochs=6", "dataset.limit_train=400")
SWEEP += ("model.layers=fc64-out", "dataset.limit_test=100", "experiment_name=kept")


def test_a_killed_sweep_goes_on(tmp_path: Path) -> None:
    process = popen(*SWEEP, "hydra.sweep.dir=cut", cwd=tmp_path)
    cut, deadline = tmp_path / "cut", time.monotonic() + 200
    while not (cut / "1" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert [status(cut / job) for job in ("0", "1")] == ["finished", "interrupted"]
    before = (cut / "0" / "metrics.jsonl").stat().st_mtime_ns
    result = snnrun(*SWEEP, "hydra.sweep.dir=cut", cwd=tmp_path, check=True)
    assert "goes on after step" in result.stdout
    assert (cut / "0" / "metrics.jsonl").stat().st_mtime_ns == before
    for job, method in (("0", "method=activation"), ("1", "method=hybrid")):
        assert results(cut / job) == undisturbed(tmp_path / "whole" / job, method, *SWEEP[2:])
        assert len({path.name.rpartition("-")[2] for path in (cut / job / "wandb").glob("offline-run-*")}) == 1
        assert summary(cut / job)["group"] == "cut"


def test_what_a_sweep_finds_in_its_folders(tmp_path: Path) -> None:
    """Failed and barely begun jobs begin anew; a foreign run and one at work are left alone, which is an error."""
    arguments = ("debug=fast", "logger=none", "trainer.threads=1", "hydra.sweep.dir=mine")
    snnrun("-m", *arguments, "seed=0,1,2,3", cwd=tmp_path, check=True)
    mine = tmp_path / "mine"
    finished = results(mine / "2")
    for job, said in (("1", {"pid": os.getpid()}), ("2", {"status": "failed"}), ("3", {"pid": 1, "host": "elsewhere"})):
        content = summary(mine / job) | {"status": "running"} | said
        (mine / job / "summary.json").write_text(json.dumps(content))
    (mine / "1" / "summary.json").write_text(json.dumps(summary(mine / "1") | {"pid": 2**22 + 1}))
    (mine / "1" / LAST).unlink()
    (mine / "2" / "metrics.jsonl").write_text("of the first attempt\n")
    config = yaml.safe_load((mine / "0" / "config.yaml").read_text())
    config["method"]["lambda_tim"] = 0.5
    (mine / "0" / "config.yaml").write_text(yaml.safe_dump(config))
    result = snnrun("-m", *arguments, "seed=0,1,2,3", cwd=tmp_path)
    assert result.returncode == 2
    assert "job 0: " in result.stderr
    assert "method.lambda_tim is 0.5 there and 1.0 here. Choose another hydra.sweep.dir." in result.stderr
    assert "mine/3 is being written by process 1 on elsewhere" in result.stderr
    assert [status(mine / job) for job in "0123"] == ["finished", "finished", "finished", "running"]
    assert results(mine / "2") == finished
    assert "resumed" not in summary(mine / "1")

"""Comparisons: which runs are taken."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from comparisons import text
from made_up_runs import add_overrides, make_run

from snnrun.compare.report import compare
from snnrun.compare.runs import find
from snnrun.errors import UserError


def test_runs_sweeps_and_trees(tmp_path: Path) -> None:
    make_run(tmp_path / "outputs" / "mine" / "one_run", "hybrid", 0)
    for job in range(12):
        make_run(tmp_path / "outputs" / "mine" / "sweep_x" / str(job), "activation", job)
    (tmp_path / "outputs" / "mine" / "sweep_x" / "comparison").mkdir()
    outputs = tmp_path / "outputs"
    assert len(find([outputs]).runs) == 13
    assert [run.folder.name for run in find([outputs / "mine" / "sweep_x"]).runs] == [str(job) for job in range(12)]
    assert len(find([outputs / "mine" / "one_run"]).runs) == 1
    assert len(find([outputs, outputs / "mine", outputs / "mine" / "one_run"]).runs) == 13
    with pytest.raises(UserError, match="is not a folder"):
        find([tmp_path / "nowhere"])


def test_debug_runs_only_where_named(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    make_run(outputs / "default" / "a", "hybrid")
    make_run(outputs / "debug" / "sweep_1" / "0", "hybrid", config={"experiment_name": "debug"})
    assert [run.folder.name for run in find([outputs]).runs] == ["a"]
    assert "left out: 1 debug runs" in text(compare([outputs]))
    for named in ("debug", "debug/sweep_1", "debug/sweep_1/0"):
        assert [run.folder.name for run in find([outputs / named]).runs] == ["0"]


def test_what_did_not_finish_is_listed_with_its_reason(tmp_path: Path) -> None:
    make_run(tmp_path / "0", "hybrid")
    make_run(tmp_path / "1", "timing", status="failed", error="the loss is not finite in step 7")
    add_overrides(tmp_path / "1", "method=timing", "optimizer.lr=1e6")
    make_run(tmp_path / "2", status="interrupted", error="stopped by signal 15")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = {"status": "running", "host": socket.gethostname(), "started": None}
    make_run(tmp_path / "3", pid=gone.pid, **here)
    make_run(tmp_path / "4", pid=os.getpid(), **here)
    make_run(tmp_path / "5", status="running", host="elsewhere", pid=5)
    make_run(tmp_path / "6", mode="test")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "summary.json").write_text("{")
    states = {aside.folder.name: (aside.state, aside.why) for aside in find([tmp_path]).aside}
    assert states["1"] == ("failed", "the loss is not finite in step 7")
    assert states["2"] == ("interrupted", "stopped by signal 15")
    assert states["3"] == ("interrupted", f"its process {gone.pid} is gone")
    assert states["4"] == ("running", f"in process {os.getpid()}")
    assert states["5"][0] == "running"
    assert "elsewhere" in states["5"][1]
    out = text(compare([tmp_path]))
    assert "(method=timing optimizer.lr=1e6): the loss is not finite in step 7" in " ".join(out.split())
    assert "left out: 1 evaluations (mode=test)" in out
    assert "damaged: " in out


def test_a_process_number_given_out_again(tmp_path: Path) -> None:
    """The run's process began as the machine did; whoever has its number today is somebody else."""
    here = {"status": "running", "host": socket.gethostname(), "pid": os.getpid()}
    make_run(tmp_path / "0", pid_started=0, **here)
    (aside,) = find([tmp_path]).aside
    assert aside.state == "interrupted"

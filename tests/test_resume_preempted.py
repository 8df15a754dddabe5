"""Signals that a launcher listens for: the run is saved at the end of its step, then the launcher decides."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cli import environment, rows, snnrun, summary
from kills import results, undisturbed

from snnrun.errors import Interrupted
from snnrun.rundir import LAST, status
from snnrun.stop import Stop

SHORT = ("trainer.threads=1", "trainer.epochs=8", "dataset.limit_train=500", "model.layers=fc64-out", "logger=none")


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """A launcher that listens for SIGUSR2, and wants SIGTERM to be ignored, as submitit does."""
    signums: list[int] = []
    before = {
        signum: signal.signal(signum, lambda signum, frame: signums.append(signum))
        for signum in (signal.SIGUSR2, signal.SIGTERM)
    }
    yield signums
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_a_launchers_signals_wait_for_the_end_of_the_step(heard: list[int]) -> None:
    stop = Stop()
    with stop.listening(), stop.deferred():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR2)
        assert (stop.requested, heard) == (True, [])
        stop.obey()
        assert heard == [signal.SIGTERM, signal.SIGUSR2]
        assert not stop.requested
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            stop.obey()
    signal.raise_signal(signal.SIGUSR2)
    assert heard[2:] == [signal.SIGUSR2]


def test_outside_of_training_they_come_through_at_once(heard: list[int]) -> None:
    with Stop().listening():
        signal.raise_signal(signal.SIGUSR2)
    assert heard == [signal.SIGUSR2]


def test_where_nobody_listens_the_signal_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    with Stop().listening():
        assert signal.getsignal(signal.SIGUSR2) is before
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_ctrl_c_stops_at_once() -> None:
    stop = Stop()
    with stop.listening(), stop.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


def test_saved_before_the_launcher_ends_the_process(tmp_path: Path) -> None:
    """A job of a sweep in a process whose SIGUSR2 handler leaves at once, as submitit's does after it has requeued."""
    script = tmp_path / "launcher.py"
    script.write_text(
        "import signal, sys, time, pathlib\n"
        "def leave(signum, frame):\n"
        "    pathlib.Path('left').write_text(str(time.time()))\n"
        "    sys.exit(77)\n"
        "signal.signal(signal.SIGUSR2, leave)\n"
        "from snnrun.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    sweep = ("-m", *SHORT, "seed=0", "hydra.sweep.dir=mine")
    run_dir = tmp_path / "mine" / "0"
    process = subprocess.Popen(
        [sys.executable, str(script), *sweep], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    )
    wait_for_row(run_dir, process)
    signalled = time.time()
    process.send_signal(signal.SIGUSR2)
    process.communicate(timeout=60)
    assert process.returncode == 77
    assert float((tmp_path / "left").read_text()) - signalled < 10
    assert status(run_dir) == "interrupted"
    step = torch.load(run_dir / LAST, weights_only=True)["step"]
    result = snnrun(*sweep, cwd=tmp_path, check=True)
    assert f"goes on after step {step}" in result.stdout
    assert results(run_dir) == undisturbed(tmp_path / "whole", *SHORT)


@pytest.mark.slow
def test_submitit_requeues(tmp_path: Path) -> None:
    """A preempted job of submitit_local comes back by itself and ends as if nothing had been."""
    sweep = ("-m", *SHORT, "seed=0")
    snnrun(*sweep, "hydra.sweep.dir=whole", cwd=tmp_path, check=True)
    launcher = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10")
    command = [sys.executable, "-m", "snnrun", *sweep, *launcher, "hydra.sweep.dir=mine"]
    pipe: Any = subprocess.PIPE
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe, text=True)
    run_dir = tmp_path / "mine" / "0"
    wait_for_row(run_dir, process)
    (preempted,) = [int(summary(run_dir)["pid"])]
    subprocess.run(["kill", "-USR2", str(preempted)], check=True)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    content = summary(run_dir)
    assert (content["status"], content["resumed"]) == ("finished", 1)
    assert content["pid"] != preempted
    assert results(run_dir) == results(tmp_path / "whole" / "0")


def wait_for_row(run_dir: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if (run_dir / "metrics.jsonl").exists() and rows(run_dir):
            return
        time.sleep(0.01)

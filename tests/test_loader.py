"""Batches in order, and processes that prepare them: what they hear of signals, and what they say in the end."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli import environment, snnrun

from snnrun.data import Quiet, batches, shuffled
from snnrun.data.digits import Digits
from snnrun.rundir import status

# A process that a signal ends at the moment when a worker asks it who it is, to hand over the memory of a batch.
GONE_WHILE_FETCHING = """
import os, signal
from multiprocessing import connection
from snnrun.data import Quiet, batches
from snnrun.data.digits import Digits
loader = batches(Digits().load(0, Quiet()).train, 10, workers=1)
connection.answer_challenge = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
next(loader)
"""

# A signal while Python ends the workers of the last evaluation: in __del__, where exceptions are printed and dropped.
STOPPED_WHILE_ENDING = """
import signal
from snnrun import experiment
from torch.utils.data import dataloader
iterator, inner = dataloader._MultiProcessingDataLoaderIter, experiment.Run._evaluate
end = iterator.__del__
def ends(self):
    end(self)
    signal.raise_signal(signal.SIGTERM)
def evaluates(run, network, part):
    iterator.__del__ = ends if part == "test" else end
    return inner(run, network, part)
experiment.Run._evaluate = evaluates
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_follow_the_order_and_the_last_is_smaller(workers: int) -> None:
    split = Digits(limit_train=25).load(0, Quiet()).train
    order = shuffled(25, seed=3, epoch=2)
    parts = list(batches(split, 10, workers, order))
    assert [part.size for part in parts] == [10, 10, 5]
    labels = np.concatenate([part.targets.label for part in parts if part.targets.label is not None])
    assert split.source.labels is not None
    np.testing.assert_array_equal(labels, split.source.labels[split.indices[order]])


def test_order_depends_on_seed_and_epoch_only() -> None:
    assert shuffled(50, 1, 2).tolist() == shuffled(50, 1, 2).tolist()
    assert shuffled(50, 1, 2).tolist() != shuffled(50, 1, 3).tolist()
    assert shuffled(50, 1, 2).tolist() != shuffled(50, 2, 1).tolist()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_workers_do_not_hear_what_the_run_decides_on(signum: int) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    loader = batches(Digits(limit_train=200).load(0, Quiet()).train, 10, workers=2)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    next(loader)
    for worker in loader._workers:  # type: ignore[attr-defined]
        subprocess.run(["kill", f"-{signum:d}", str(worker.pid)], check=True)  # by somebody else
    assert sum(1 for _ in loader) == 19


def test_a_worker_says_nothing_where_its_run_was_killed() -> None:
    command = [sys.executable, "-c", GONE_WHILE_FETCHING]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environment(), stdout=pipe, stderr=pipe, text=True)
    _, errors = process.communicate(timeout=60)  # until the worker has closed it, too, and so is gone
    assert process.returncode == -signal.SIGKILL, errors
    assert errors == ""


def test_a_worker_that_nobody_asks_any_more_ends_with_its_run() -> None:
    """An error on its way out keeps the frame that holds the loader."""
    script = GONE_WHILE_FETCHING.split("connection.answer")[0] + "next(loader)\n"
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script], env=environment(), stdout=pipe, stderr=pipe, text=True)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")


def test_a_signal_while_workers_are_ended_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text(STOPPED_WHILE_ENDING)
    options = ("debug=fast", "logger=none", "dataset.workers=1", "plugins=[stops]", "hydra.run.dir=cut")
    result = snnrun(*options, cwd=tmp_path)
    assert result.returncode == 143
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert status(tmp_path / "cut") == "interrupted"

"""An online W&B run that was interrupted goes on as the same run; the service is sent what it lacks, each row once."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli import rows, snnrun, summary
from kills import popen
from wandb_server import Server, serving

from snnrun.rundir import status

SHORT = ("trainer.threads=1", "trainer.epochs=6", "dataset.limit_train=300", "model.layers=fc64-out", "logger=wandb")
# a signal that comes while the test set is evaluated, when all epochs are with the service already
STOPS = """
import os, signal
from snnrun import experiment
inner = experiment.Run._evaluate
def stops(run, network, part):
    if part == "test":
        os.kill(os.getpid(), signal.SIGTERM)
    return inner(run, network, part)
experiment.Run._evaluate = stops
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as service:
        yield service


def logged_in(server: Server, home: Path) -> dict[str, str]:
    return {"WANDB_MODE": "online", "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": server.url, "HOME": str(home)}


def history(server: Server) -> list[dict[str, Any]]:
    """Rows of the one run that the service knows."""
    (run,) = {asked["name"] for asked in server.named("UpsertBucket")}
    return server.history[run]


@pytest.mark.parametrize("signum", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_it_is_the_same_run_and_has_every_row_once(signum: int, server: Server, tmp_path: Path) -> None:
    run_dir, env = tmp_path / "cut", logged_in(server, tmp_path)
    process = popen(*SHORT, f"hydra.run.dir={run_dir}", cwd=tmp_path, **env)
    while process.poll() is None and not ((run_dir / "metrics.jsonl").exists() and len(rows(run_dir)) > 1):
        time.sleep(0.01)
    process.send_signal(signum)
    process.communicate(timeout=60)
    assert status(run_dir) == "interrupted"
    result = snnrun(f"resume={run_dir}", cwd=tmp_path, check=True, **env)
    assert "W&B run: http" in result.stdout
    *epochs, test = rows(run_dir)
    sent = history(server)
    assert [row["_step"] for row in sent] == [row["step"] for row in epochs]
    assert [row["val/loss"] for row in sent] == [row["val/loss"] for row in epochs]
    assert sent[-1]["test/acc"] == test["test/acc"] == summary(run_dir)["test"]["acc"]


def test_one_that_was_stopped_in_its_last_evaluation_gets_its_test_metrics(server: Server, tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text(STOPS)
    run_dir, env = tmp_path / "cut", logged_in(server, tmp_path)
    begun = snnrun("debug=fast", "logger=wandb", "plugins=[stops]", f"hydra.run.dir={run_dir}", cwd=tmp_path, **env)
    assert begun.returncode == 143
    before = len(history(server))
    snnrun(f"resume={run_dir}", cwd=tmp_path, check=True, **env)
    sent = history(server)
    assert len(sent) == before + 1
    assert sent[-1]["test/acc"] == summary(run_dir)["test"]["acc"]

"""Launchers: jobs in other processes leave the same as in one, and the sweep is stopped and reported as a whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cli import environment, rows, run_dirs, snnrun, summary, timeless
from test_wandb_observer import records

from snnrun.children import descendants
from snnrun.composition import compose_node

TINY = ("debug=fast", "seed=0,1")


class Swept(NamedTuple):
    """A sweep of four jobs with data workers, two at a time, of which the first two cannot work."""

    launcher: str
    result: "subprocess.CompletedProcess[str]"
    cwd: Path
    runs: list[Path]
    summaries: list[dict[str, Any]]


@pytest.fixture(scope="module", params=["joblib", pytest.param("submitit_local", marks=pytest.mark.slow)])
def swept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    cwd = tmp_path_factory.mktemp(request.param)
    options = ["debug=fast", "trainer.epochs=2", "dataset.workers=1", "loss=count", "method=timing,hybrid", "seed=0,1"]
    if request.param == "joblib":
        options.append("hydra.launcher.n_jobs=2")  # both workers run two jobs
    result = snnrun("-m", *options, f"hydra/launcher={request.param}", "hydra.sweep.dir=mine", cwd=cwd)
    runs = [cwd / "mine" / str(number) for number in range(4)]
    return Swept(request.param, result, cwd, runs, [summary(run) for run in runs])


def test_a_job_that_fails_is_recorded_and_the_others_go_on(swept: Swept) -> None:
    result = swept.result
    assert result.returncode == 2, result.stderr
    assert [content["status"] for content in swept.summaries] == ["failed", "failed", "finished", "finished"]
    assert all("cannot learn from loss=count" in content["error"] for content in swept.summaries[:2])
    assert "2 of 4 jobs finished" in result.stdout
    told = result.stderr if swept.launcher == "joblib" else result.stdout
    assert "method=timing cannot learn from loss=count" in told
    assert (".submitit" if swept.launcher == "submitit_local" else "console.log") in result.stdout.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr


def test_one_wandb_run_per_job_in_one_group_in_workers_that_failed_before(swept: Swept) -> None:
    logged = [record for run in swept.runs[2:] for record in records(run, "run")]
    assert len({record["run_id"] for record in logged}) == len(logged) == 2
    assert {record["run_group"] for record in logged} == {"mine"}
    assert {content["group"] for content in swept.summaries} == {"mine"}


def test_a_job_leaves_what_it_leaves_on_its_own_to_the_bit(swept: Swept) -> None:
    job = swept.summaries[3]
    assert (job["method"], job["seed"], job["threads"]) == ("hybrid", 1, max(1, _cores() // 2) if _joblib(swept) else 1)
    options = ("debug=fast", "trainer.epochs=2", "loss=count", "method=hybrid", "seed=1", "logger=none")
    snnrun(*options, f"trainer.threads={job['threads']}", "hydra.run.dir=alone", cwd=swept.cwd, check=True)
    assert [timeless(row) for row in rows(swept.cwd / "alone")] == [timeless(row) for row in rows(swept.runs[3])]


def test_a_sweep_folder_of_other_options_is_refused(swept: Swept) -> None:
    before = (swept.runs[2] / "summary.json").read_text()
    options = ("debug=fast", "logger=none", "method=hybrid", "seed=7", "hydra.sweep.dir=mine")
    result = snnrun("-m", *options, "hydra.sweep.subdir=2", cwd=swept.cwd)
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert "holds another run" in line
    assert (swept.runs[2] / "summary.json").read_text() == before


def _joblib(swept: Swept) -> bool:
    return swept.launcher == "joblib"


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@pytest.mark.slow
def test_threads_are_shared_out_unless_set(tmp_path: Path) -> None:
    sweep = ("-m", *TINY, "logger=none", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    snnrun(*sweep, "hydra.sweep.dir=shared", cwd=tmp_path, check=True)
    snnrun(*sweep, "trainer.threads=3", "hydra.sweep.dir=set", cwd=tmp_path, check=True)
    taken = {path.parent.parent.name: summary(path.parent)["threads"] for path in tmp_path.glob("*/*/summary.json")}
    assert taken == {"shared": max(1, _cores() // 2), "set": 3}


@pytest.mark.slow
def test_jobs_that_start_at_once_on_a_cold_cache_all_work(tmp_path: Path) -> None:
    cold = {"SNNRUN_CACHE": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    sweep = ("-m", *TINY, "method=activation,hybrid", "logger=none", "hydra/launcher=joblib", "hydra.launcher.n_jobs=4")
    result = snnrun(*sweep, cwd=tmp_path, **cold)
    assert result.returncode == 0, result.stderr
    assert "4 of 4 jobs finished" in result.stdout


@pytest.mark.parametrize(
    ("launcher", "signum"),
    [
        ("joblib", signal.SIGINT),
        pytest.param("joblib", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("submitit_local", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("basic", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_stop_signal_stops_the_whole_sweep_and_leaves_nobody_behind(
    launcher: str, signum: signal.Signals, tmp_path: Path
) -> None:
    jobs = 1 if launcher == "basic" else 2
    process, family = _in_training(launcher, jobs, tmp_path)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, errors
    assert "Traceback" not in errors
    assert _alive_after(family, seconds=2) == []
    statuses = {path.parent.name: summary(path.parent)["status"] for path in tmp_path.glob("mine/*/summary.json")}
    assert statuses == {str(number): "interrupted" for number in range(jobs)}
    # the step was finished and its state kept
    assert len(list(tmp_path.glob("mine/*/checkpoints/last.pt"))) == jobs


@pytest.mark.slow
def test_workers_do_not_outlive_a_sweep_that_is_killed(tmp_path: Path) -> None:
    process, family = _in_training("joblib", 2, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    assert _alive_after(family, seconds=20) == []


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        ("hydra/launcher=submitit_slurm seed=0,1", "hydra/launcher=submitit_slurm needs hydra-submitit-launcher"),
        ("hydra/launcher=ray seed=0,1", "hydra/launcher=ray needs hydra-ray-launcher"),
        ("hparams_search=optuna", "hydra/sweeper=optuna needs hydra-optuna-sweeper"),
    ],
)
def test_a_plugin_that_is_not_installed_is_named_with_its_extra(arguments: str, needs: str, tmp_path: Path) -> None:
    (tmp_path / "none" / "hydra_plugins").mkdir(parents=True)
    (tmp_path / "none" / "hydra_plugins" / "__init__.py").touch()  # hides every plugin of the environment
    result = snnrun("-m", *arguments.split(), cwd=tmp_path, PYTHONPATH=str(tmp_path / "none"))
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert needs in line
    assert "pip install 'snnrun[" in line
    assert run_dirs(tmp_path) == []
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local", "submitit_slurm", "ray"])
def test_every_launcher_composes(launcher: str) -> None:
    node = compose_node([f"hydra/launcher={launcher}"])
    assert node.hydra.launcher._target_.endswith("Launcher")


@pytest.mark.slow
def test_memory_is_flat_over_twenty_serial_jobs(tmp_path: Path) -> None:
    plugin = (
        "import json, os\n"
        "import snnrun.methods\n"
        "from snnrun import jobs\n"
        "def resident():\n"
        "    return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE')\n"
        "inner = jobs.sweep_job\n"
        "def measured(node):\n"
        "    value = inner(node)\n"
        "    with open('resident.txt', 'a') as file:\n"
        "        print(resident(), file=file)\n"
        "    return value\n"
        "jobs.sweep_job = measured if inner.__name__ != 'measured' else inner\n"
    )
    (tmp_path / "measure.py").write_text(plugin)
    sweep = ("-m", "debug=fast", "method=timing,hybrid", "seed=range(0,10)", "plugins=[measure]")
    snnrun(*sweep, cwd=tmp_path, check=True)
    sizes = [int(line) / 1e6 for line in (tmp_path / "resident.txt").read_text().splitlines()]
    assert len(sizes) == 20
    assert sizes[-1] - sizes[9] < 20, sizes


def _in_training(launcher: str, jobs: int, cwd: Path) -> tuple["subprocess.Popen[str]", list[int]]:
    """A sweep of long jobs whose first ones have finished an epoch, and all processes it has by then."""
    sweep = ("-m", "debug=fast", "trainer.epochs=5000", f"seed=range(0,{jobs + 1})" if jobs == 2 else "seed=0,1")
    options = ["hydra.sweep.dir=mine", f"hydra/launcher={launcher}", "logger=none"]
    if launcher == "joblib":
        options += [f"hydra.launcher.n_jobs={jobs}", "dataset.workers=1"]
    elif launcher == "submitit_local":
        sweep = (*sweep[:-1], "seed=0,1")
    command = [sys.executable, "-m", "snnrun", *sweep, *options]
    process = subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(list(cwd.glob("mine/*/metrics.jsonl"))) < jobs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process, descendants(process.pid)


def _alive_after(pids: list[int], seconds: float) -> list[int]:
    """Those of the processes that still run after some seconds."""
    deadline = time.monotonic() + seconds
    while (alive := [pid for pid in pids if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

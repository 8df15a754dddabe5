"""A real sweep with W&B offline, read back: one run per job whatever happens, and nothing that should not be there."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cli import environment, summary
from conftest import WANDB_KEY, Sweep
from wandb_files import Logged
from wandb_server import serving

JOBS = range(6)
FINISHED, FAILED = (0, 2, 4), (1, 3, 5)


@pytest.fixture(scope="module")
def jobs(wandb_sweep: Sweep) -> list[Path]:
    return [wandb_sweep.folder / str(job) for job in JOBS]


@pytest.fixture(scope="module")
def logged(jobs: list[Path]) -> list[Logged]:
    return [Logged.read(job) for job in jobs]


def test_every_job_has_a_run_of_its_own_in_one_group(wandb_sweep: Sweep, logged: list[Logged]) -> None:
    assert wandb_sweep.code == 2
    assert len({run.run["run_id"] for run in logged}) == len(JOBS)
    assert {run.run["run_group"] for run in logged} == {wandb_sweep.folder.name}
    assert {run.run["job_type"] for run in logged} == {"train"}


def test_tags_say_method_data_set_and_loss(logged: list[Logged]) -> None:
    tags = [run.run["tags"] for run in logged]
    assert tags[::2] == [["activation", "digits", "count"], ["timing", "digits", "latency"], tags[4]]
    assert tags[4] == ["hybrid", "digits", "latency"]


def test_the_config_is_the_resolved_one(jobs: list[Path], logged: list[Logged]) -> None:
    for job, run in zip(jobs, logged, strict=True):
        assert run.config == yaml.safe_load((job / "config.yaml").read_text())
    assert [run.config["optimizer"]["lr"] for run in logged] == [2e-3, 1e38] * 3


def test_the_summary_is_that_of_the_run(jobs: list[Path], logged: list[Logged]) -> None:
    for job in FINISHED:
        content = summary(jobs[job])
        for part, prefix in (("val", "best"), ("test", "test")):
            ours = {f"{prefix}/{key}": value for key, value in content[part].items() if value is not None}
            theirs = {key: value for key, value in logged[job].summary.items() if key.startswith(f"{prefix}/")}
            assert theirs == ours
            assert f"{prefix}/spikes_to_decision" in ours


def test_a_failed_job_is_closed_as_failed(jobs: list[Path], logged: list[Logged]) -> None:
    assert [run.exit_code for run in logged] == [0, 1] * 3
    for job in FAILED:
        assert summary(jobs[job])["status"] == "failed"
        assert not [key for key in logged[job].summary if key.startswith(("test/", "best/"))]


def test_rows_have_gradient_norms_and_rates_of_every_layer(logged: list[Logged]) -> None:
    for job in FINISHED:
        (row,) = logged[job].rows
        for kind in ("grad_norm", "rate", "silent"):
            assert [key for key in sorted(row) if key.startswith(f"{kind}/")] == [f"{kind}/layer0", f"{kind}/layer1"]
            assert row[f"{kind}/layer1"] >= 0


def test_plots_are_images_of_the_last_row(jobs: list[Path], logged: list[Logged]) -> None:
    for job in FINISHED:
        for name in ("raster", "confusion"):
            assert logged[job].rows[-1][f"plots/{name}._type"] == "image-file"
            stored = logged[job].folder / "files" / logged[job].rows[-1][f"plots/{name}.path"]
            assert stored.read_bytes() == (jobs[job] / "plots" / f"{name}.png").read_bytes()


def test_the_best_checkpoint_of_a_finished_job_is_an_artifact(jobs: list[Path], logged: list[Logged]) -> None:
    for job in FINISHED:
        (artifact,) = logged[job].artifacts
        assert (artifact["type"], artifact["name"]) == ("model", f"model-{logged[job].run['run_id']}")
        assert "best" in artifact["aliases"]
        (file,) = artifact["manifest"]["contents"]
        assert (file["path"], file["local_path"]) == ("best.pt", str(jobs[job] / "checkpoints" / "best.pt"))
        metadata, test = yaml.safe_load(artifact["metadata"]), summary(jobs[job])["test"]
        assert {key: metadata[f"test/{key}"] for key in test} == test
    assert not [run for job, run in enumerate(logged) if job in FAILED and run.artifacts]


def test_the_key_is_nowhere(wandb_sweep: Sweep) -> None:
    files = [path for path in wandb_sweep.folder.parents[2].rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 80
    assert not [path for path in files if WANDB_KEY.encode() in path.read_bytes()]
    assert WANDB_KEY not in wandb_sweep.output


def last_line(job: Path) -> str:
    return (job / "snnrun.log").read_text().splitlines()[-1].partition(" INFO ")[2]


def test_the_last_line_of_every_job_is_the_command_that_syncs_it(jobs: list[Path], logged: list[Logged]) -> None:
    for job, run in zip(jobs, logged, strict=True):
        assert last_line(job).startswith("wandb sync ")
        assert last_line(job).endswith(f"/{job.name}/wandb/{run.folder.name}")


def test_that_command_sends_everything(wandb_sweep: Sweep, jobs: list[Path], tmp_path: Path) -> None:
    cwd, job = wandb_sweep.folder.parents[2], jobs[4]
    command = [sys.executable, "-m", *shlex.split(last_line(job))]
    with serving() as server:
        outside = environment(HOME=str(tmp_path), WANDB_API_KEY=WANDB_KEY, WANDB_BASE_URL=server.url)
        del outside["WANDB_MODE"]
        subprocess.run(command, cwd=cwd, env=outside, check=True, capture_output=True, timeout=120)
        assert wandb_sweep.folder.name in [run["groupName"] for run in server.named("UpsertBucket")]
        assert {"val/acc", "test/acc", "rate/layer0", "plots/confusion"} <= server.stream
        assert server.files["best.pt"] == (job / "checkpoints" / "best.pt").read_bytes()
        images = [content for name, content in server.files.items() if name.startswith("raster")]
        assert images == [(job / "plots" / "raster.png").read_bytes()]

"""A disk that is full, a folder that cannot be written or is gone: one line, exit 2, the last good checkpoint stays."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cli import rows, snnrun, summary
from kills import popen, results
from wandb_files import Logged

from snnrun import atomic, checkpoint
from snnrun.errors import OutputError
from snnrun.rundir import LAST, status

LONG = ("trainer.threads=1", "trainer.epochs=100000", "dataset.limit_train=200", "dataset.limit_val=50")
LONG += ("model.layers=fc64-out",)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def started(run_dir: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A long run, past its second epoch."""
    process = popen(*LONG, *arguments, f"hydra.run.dir={run_dir}", cwd=run_dir.parent.parent)
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if (run_dir / "metrics.jsonl").exists() and len(rows(run_dir)) > 1:
            break
        time.sleep(0.02)
    return process


def ended(process: "subprocess.Popen[str]") -> str:
    """The one line that it ends with."""
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    (line,) = errors.strip().splitlines()
    assert line.startswith("snnrun: error: ")
    return line


def test_a_full_disk(disk: Path, tmp_path: Path) -> None:
    run_dir = disk / "run"
    process = started(run_dir, "logger=wandb")
    filler = fill(disk)
    full = time.monotonic()
    assert "cannot be written (No space left on device). Make room" in ended(process)
    assert time.monotonic() - full < 60  # W&B, which cannot write either, does not hold it up
    assert status(run_dir) in ("failed", "interrupted")
    step = checkpoint.load(run_dir / LAST)["step"]
    filler.unlink()
    epochs = checkpoint.load(run_dir / LAST)["train"]["epoch"]
    snnrun(f"resume={run_dir}", f"trainer.epochs={epochs + 1}", "logger=none", cwd=tmp_path, check=True)
    assert results(run_dir)["rows"][-1]["step"] > step
    assert summary(run_dir)["status"] == "finished"


def test_wandb_is_told_of_a_full_disk_where_its_own_file_has_room(disk: Path, tmp_path: Path) -> None:
    run_dir, elsewhere = disk / "run", tmp_path / "elsewhere"
    run_dir.mkdir()
    elsewhere.mkdir()
    (run_dir / "wandb").symlink_to(elsewhere)
    process = started(run_dir, "logger=wandb")
    fill(disk)
    assert "No space left on device" in ended(process)
    logged = Logged.read(run_dir)
    assert logged.exit_code == 1
    assert [row["epoch"] for row in logged.rows] == list(range(1, len(logged.rows) + 1))


def fill(disk: Path) -> Path:
    """Leave no byte free; returns the file that has them all."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


@pytest.mark.slow
def test_a_disk_that_has_become_read_only(disk: Path, tmp_path: Path) -> None:
    """As disks do after an error; Linux refuses it to us while a run has its log open, so the run is resumed on it."""
    run_dir = disk / "run"
    process = started(run_dir, "logger=none")
    process.kill()
    process.communicate(timeout=60)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    again, anew = snnrun(f"resume={run_dir}", cwd=tmp_path), snnrun(f"hydra.run.dir={disk}/other", cwd=tmp_path)
    for result in (again, anew):
        assert result.returncode == 2
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith("snnrun: error: ")
        assert "Read-only file system" in line
    assert checkpoint.load(run_dir / LAST)["step"] > 0
    assert status(run_dir) == "interrupted"


def test_a_folder_that_is_deleted_under_the_run(tmp_path: Path) -> None:
    run_dir = tmp_path / "outputs" / "run"
    process = started(run_dir, "logger=none")
    moved = tmp_path / "moved"
    run_dir.rename(moved)
    assert "cannot be written (No such file or directory). Its folder was moved or deleted" in ended(process)
    assert not run_dir.exists()
    assert checkpoint.load(moved / LAST)["step"] > 0
    shutil.rmtree(moved)


def test_a_write_that_fails_keeps_what_was_there(disk: Path) -> None:
    path = disk / "last.pt"
    atomic.write(path, b"good")
    with pytest.raises(OutputError, match="No space left on device"):
        atomic.write(path, bytes(8 * 2**20))
    assert path.read_bytes() == b"good"
    assert [each.name for each in disk.iterdir()] == ["last.pt"]


def test_a_log_that_cannot_be_written_is_silent(disk: Path, capsys: Any) -> None:
    import logging

    from snnrun.provenance import log_file

    with log_file(disk / "snnrun.log"):
        logging.getLogger("snnrun").info("x" * 8 * 2**20)
    assert capsys.readouterr().err == ""

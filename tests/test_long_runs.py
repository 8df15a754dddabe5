"""Long runs stay flat: memory, open files, time; and so do many jobs in one process. Figures are printed (-s)."""

import os
import re
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from cli import environment, rows

PAGE = resource.getpagesize()


def popen(*arguments: str, cwd: Path, **env: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "snnrun", *arguments]
    with (cwd / "console.txt").open("a") as file:
        return subprocess.Popen(command, cwd=cwd, env=environment(**env), stdout=file, stderr=file, text=True)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


@pytest.mark.slow
def test_two_hundred_epochs(tmp_path: Path) -> None:
    process = popen("trainer.epochs=200", "logger=csv", "hydra.run.dir=run", cwd=tmp_path)
    path, seen = tmp_path / "run" / "metrics.jsonl", {}
    while process.poll() is None:
        epochs = path.read_bytes().count(b"\n") if path.exists() else 0
        if 1 <= epochs <= 200:
            with suppress(OSError, IndexError):
                seen.setdefault(epochs, (resident(process.pid), len(os.listdir(f"/proc/{process.pid}/fd"))))  # noqa: PTH208
        time.sleep(0.02)
    assert process.returncode == 0, (tmp_path / "console.txt").read_text()
    told = rows(tmp_path / "run")
    assert [row["epoch"] for row in told] == [*range(1, 201), 200]
    assert all("val/acc" in row for row in told[:-1])
    middle, last = min(epoch for epoch in seen if epoch >= 100), max(epoch for epoch in seen if epoch <= 199)
    grown = (seen[last][0] - seen[middle][0]) / 1e6
    files = {seen[epoch][1] for epoch in seen if 10 <= epoch <= 199}
    seconds = np.array([row["time/epoch_s"] for row in told[:-1]])
    early, late = np.median(seconds[20:80]), np.median(seconds[120:180])
    print(
        f"200 epochs: {seen[middle][0] / 1e6:.0f} MB at epoch {middle}, {grown:+.1f} MB by epoch {last}; open files "
        f"{sorted(files)}; median epoch {early:.3f} s (21-80), {late:.3f} s (121-180)"
    )
    assert grown < 5
    assert max(files) - min(files) <= 1  # a file that is being written
    assert late < 1.5 * early


MEASURE = """
import gc, os, snnrun.methods
from snnrun import jobs
inner = jobs.sweep_job
def measured(node):
    value = inner(node)
    gc.collect()
    pages = int(open('/proc/self/statm').read().split()[1])
    with open('measured.txt', 'a') as file:
        print(pages * os.sysconf('SC_PAGE_SIZE'), len(gc.get_objects()), len(os.listdir('/proc/self/fd')), file=file)
    return value
jobs.sweep_job = measured if inner.__name__ != 'measured' else inner
"""


@pytest.mark.slow
def test_sixty_serial_jobs(tmp_path: Path) -> None:
    (tmp_path / "measure.py").write_text(MEASURE)
    process = popen("-m", "debug=fast", "seed=range(0,60)", "plugins=[measure]", cwd=tmp_path)
    assert process.wait() == 0, (tmp_path / "console.txt").read_text()
    table = np.array([line.split() for line in (tmp_path / "measured.txt").read_text().splitlines()], dtype=float)
    sizes, objects, files = table.T
    a_job = (sizes[40:].mean() - sizes[10:30].mean()) / 1e6 / 30
    print(
        f"60 serial jobs: MB after each tenth {[round(size / 1e6) for size in sizes[9::10]]}, "
        f"{a_job:+.2f} MB a job from 11-30 to 41-60; Python objects {objects[9]:.0f} to {objects[-1]:.0f}; "
        f"open files {files[9]:.0f} to {files[-1]:.0f}"
    )
    assert len(sizes) == 60
    assert a_job < 0.5
    assert (objects[-1] - objects[9]) / 50 < 50  # caches of libraries that fill up; a job's own configs were 670
    assert files[-1] <= files[9] + 1


@pytest.fixture(scope="module")
def sixty_thousand(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 800 recordings at hand, linked under 60,000 names."""
    root = tmp_path_factory.mktemp("sixty_thousand")
    for part, wanted in (("Train", 60_000), ("Test", 10_000)):
        given = sorted((shared_data / "NMNIST" / part).glob("*/*.bin"))
        number = 0
        while number < wanted:
            source = given[number % len(given)]
            target = root / "NMNIST" / part / source.parent.name / f"{number:05}.bin"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.resolve())
            number += 1
    return root


@pytest.mark.slow
def test_sixty_thousand_recordings(sixty_thousand: Path, tmp_path: Path) -> None:
    """Packed once, within a gigabyte, with progress, in spite of a kill; the next run starts at once."""
    options = ("dataset=nmnist", f"dataset.root={sixty_thousand}", "dataset.limit_train=64", "dataset.limit_val=32")
    options = (
        *options,
        "dataset.limit_test=32",
        "trainer.epochs=1",
        "dataset.T=50",
        "model.layers=fc64-out",
        "logger=none",
    )
    cache = {"SNNRUN_CACHE": str(tmp_path / "cache")}
    packed = tmp_path / "cache" / "packed"
    process = popen(*options, "hydra.run.dir=killed", cwd=tmp_path, **cache)
    while not any(path.stat().st_size > 50e6 for path in packed.glob("*.tmp/address.u16")):
        assert process.poll() is None, (tmp_path / "console.txt").read_text()
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not [path for path in packed.glob("nmnist-*") if path.is_dir() and path.suffix != ".tmp"]
    started, most = time.monotonic(), 0
    process = popen(*options, "hydra.run.dir=packs", cwd=tmp_path, **cache)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        anonymous = re.search(r"RssAnon:\s+(\d+) kB", status)
        most = max(most, int(anonymous[1]) * 1024 if anonymous else 0)
        time.sleep(0.05)
    seconds, console = time.monotonic() - started, (tmp_path / "console.txt").read_text()
    assert process.returncode == 0, console
    assert "packing" in console
    stores = {path.name: path.stat().st_mtime_ns for path in packed.iterdir() if path.is_dir()}
    assert len(stores) == 2
    times, data = [], None
    for _ in range(2):
        script = (
            "from time import perf_counter as wall, process_time as cpu; w = wall()\n"
            "from snnrun import cli; import sys; i = cpu()\n"
            "from snnrun.composition import compose_node, to_plain; from snnrun.config import check\n"
            "import snnrun.experiment\n"
            "config = check(to_plain(compose_node(sys.argv[1:]))); from snnrun.data import Quiet\n"
            "data = config.dataset.load(0, Quiet()); print(i, cpu(), wall() - w, len(data.test.source))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, *options],
            cwd=tmp_path,
            env=environment(**cache),
            capture_output=True,
            text=True,
            check=True,
        )
        *seconds_each, data = map(float, done.stdout.split())
        times.append(seconds_each)
    imports, whole, waited = min(times, key=lambda each: each[1])
    assert {path.name: path.stat().st_mtime_ns for path in packed.iterdir() if path.is_dir()} == stores
    assert data == 10_000
    print(
        f"70,000 recordings: packed and trained in {seconds:.0f} s after a kill, {most / 1e6:.0f} MB of memory without "
        f"mapped files; afterwards ready in {waited:.1f} s ({whole:.1f} s of CPU, {imports:.1f} s of them importing)"
    )
    assert most < 1e9
    assert whole < 8  # seconds of CPU, so that a busy machine does not count
    assert imports > whole / 2

"""Sweeps: one run and one W&B run per job, failures recorded, the exit code tells."""

import re
import subprocess
import sys
from pathlib import Path

from cli import environment, rows, run_dirs, snnrun, summary, timeless

TINY = ("debug=fast",)


def test_three_methods_two_seeds(tmp_path: Path) -> None:
    result = snnrun("-m", *TINY, "method=activation,timing,hybrid", "seed=0,1", cwd=tmp_path, check=True)
    runs = run_dirs(tmp_path)
    contents = [summary(run) for run in runs]
    assert [run.name for run in runs] == ["0", "1", "2", "3", "4", "5"]
    assert [(c["method"], c["seed"]) for c in contents] == [
        (method, seed) for method in ("activation", "timing", "hybrid") for seed in (0, 1)
    ]
    assert [c["loss"] for c in contents] == ["count", "count", "latency", "latency", "latency", "latency"]
    assert {c["group"] for c in contents} == {runs[0].parent.name}
    assert runs[0].parent.name.startswith("sweep_")
    assert list((tmp_path / "outputs" / "debug").iterdir()) == [runs[0].parent]
    logs = [path for run in runs for path in (run / "wandb").glob("offline-run-*")]
    assert len({path.name.rsplit("-", 1)[1] for path in logs}) == 6
    assert "6 of 6 jobs finished" in result.stdout
    for method in ("activation", "timing", "hybrid"):  # the comparison, with two seeds each
        assert re.search(rf"^{method} +(count|latency) +2 +\d", result.stdout, re.MULTILINE)
    assert (
        len(re.findall(r"^(?:timing|hybrid) .* points (?:over|against) activation", result.stdout, re.MULTILINE)) == 2
    )
    assert len((runs[0].parent / "comparison.csv").read_text().splitlines()) == 4
    assert len(list((runs[0].parent / "comparison").glob("*.png"))) == 4
    by_hand = subprocess.run(
        [sys.executable, "-m", "snnrun.compare.cli", str(runs[0].parent), "--no-plots"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert by_hand.stdout.strip() in result.stdout
    # a job of a sweep is the same run as on its own
    snnrun(*TINY, "method=timing", "seed=1", "logger=none", cwd=tmp_path, check=True)
    alone = next(run for run in run_dirs(tmp_path) if not run.parent.name.startswith("sweep_"))
    assert [timeless(row) for row in rows(alone)] == [timeless(row) for row in rows(runs[3])]


COUNT = """
import gc, omegaconf, snnrun.methods
from snnrun import jobs
inner = jobs.sweep_job
def counted(node):
    value = inner(node)
    gc.collect()
    print("nodes:", sum(isinstance(each, omegaconf.Node) for each in gc.get_objects()))
    return value
jobs.sweep_job = counted if inner.__name__ != 'counted' else inner
"""


def test_jobs_leave_nothing_of_their_configs_in_memory(tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(COUNT)
    result = snnrun("-m", *TINY, "logger=none", "seed=0,1,2", "plugins=[count]", cwd=tmp_path, check=True)
    nodes = [int(line.removeprefix("nodes:")) for line in result.stdout.splitlines() if line.startswith("nodes:")]
    assert len(nodes) == 3
    assert nodes[0] == nodes[1] == nodes[2]


def test_a_pair_that_cannot_work_fails_alone(tmp_path: Path) -> None:
    result = snnrun("-m", *TINY, "logger=none", "method=timing,hybrid", "loss=count", cwd=tmp_path)
    assert result.returncode == 2
    first, second = map(summary, run_dirs(tmp_path))
    assert first["status"] == "failed"
    assert "cannot learn from loss=count" in first["error"]
    assert second["status"] == "finished"
    assert "1 of 2 jobs finished" in result.stdout
    assert result.stdout.count("\nfailed: ") == 1
    assert re.search(
        r"^failed: \S+/0 \(.*method=timing loss=count\): .*cannot learn from loss=count", result.stdout, re.M
    )
    assert "Traceback" not in result.stderr


def test_a_bug_fails_alone_with_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "buggy.py").write_text(
        "from dataclasses import dataclass\n"
        "from snnrun.methods import Hybrid\n"
        "from snnrun.registry import register\n"
        "@register('method', 'buggy')\n"
        "@dataclass\n"
        "class Buggy(Hybrid):\n"
        "    def membrane_gradient(self, gs, gt, v, s, slope):\n"
        "        return gs / 0 @ 'x'\n"
    )
    (tmp_path / "conf" / "method").mkdir(parents=True)
    (tmp_path / "conf" / "method" / "buggy.yaml").write_text("name: buggy\n")
    result = snnrun(
        "-m", *TINY, "logger=none", "--config-dir", "conf", "plugins=[buggy]", "method=buggy,hybrid", cwd=tmp_path
    )
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert [summary(run)["status"] for run in run_dirs(tmp_path)] == ["failed", "finished"]


def test_finished_jobs_of_the_same_sweep_folder_are_kept(tmp_path: Path) -> None:
    arguments = ("-m", *TINY, "logger=none", "method=hybrid", "seed=0,1", "hydra.sweep.dir=mine")
    snnrun(*arguments, cwd=tmp_path, check=True)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").glob("*/metrics.jsonl")}
    assert len(stamps) == 2
    # a comparison that cannot be written costs a warning, not the sweep's exit code
    (tmp_path / "mine" / "comparison.csv").unlink()
    (tmp_path / "mine" / "comparison.csv").mkdir()
    again = snnrun(*arguments, cwd=tmp_path, check=True)
    assert "snnrun: warning: comparison: mine/comparison.csv cannot be written" in again.stderr
    assert "2 of 2 jobs finished" in again.stdout
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}

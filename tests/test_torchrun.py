"""One run in several processes: the same numbers, one folder, one voice, and an end in which nothing is lost."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torchrun
from cli import only_run, rows, run_dirs, snnrun, summary
from kills import results

from snnrun import checkpoint
from snnrun.children import descendants
from snnrun.rundir import LAST, status

ONE_THREAD = ("logger=none", "trainer.threads=1")
LONG = (*ONE_THREAD, "trainer.epochs=300", "dataset.limit_train=500", "model.layers=fc64-out", "hydra.run.dir=cut")


def test_the_gradient_of_a_batch_is_that_of_one_process(tmp_path: Path) -> None:
    """Every method and loss; batches that are uneven, and smaller than the number of processes."""
    script = Path(__file__).with_name("shared_steps.py")
    report = json.loads(torchrun.run(2, cwd=tmp_path, what=(str(script),)).stdout)
    worst = max(report, key=lambda each: each["error"])
    print(f"{len(report)} gradients; relative error at most {worst['error']:.1e} ({worst['case']})")
    assert worst["error"] < 1e-6
    assert all(each["agree"] and each["moves"] for each in report)
    for method in ("timing", "hybrid"):
        assert any(each["staggered"] for each in report if each["case"].startswith(f"{method} latency r=0.0"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where three epochs of digits were trained by two processes, and what they printed."""
    cwd = tmp_path_factory.mktemp("shared")
    result = torchrun.run(2, "trainer.epochs=3", cwd=cwd)
    return cwd, result.stdout + result.stderr


def test_one_folder_and_one_voice(shared: tuple[Path, str]) -> None:
    cwd, output = shared
    run_dir = only_run(cwd)
    assert [path.name for path in cwd.iterdir()] == ["outputs"]
    assert [path.name for path in run_dir.parent.iterdir()] == [run_dir.name]
    assert len(list((run_dir / "wandb").glob("offline-run-*"))) == 1
    assert summary(run_dir)["processes"] == 2
    assert [row["step"] for row in rows(run_dir)] == [81, 162, 243, 243]
    assert (output.count("method   hybrid"), output.count("wandb sync")) == (1, 1)
    cores = len(os.sched_getaffinity(0))
    assert summary(run_dir)["threads"] == max(1, cores // 2), "torchrun's OMP_NUM_THREADS=1 is not the user's"


def test_three_epochs_end_within_the_spread_of_seeds(shared: tuple[Path, str], tmp_path: Path) -> None:
    """Sums round otherwise, which training amplifies: a shared run is one more draw from the same distribution."""
    snnrun("-m", "trainer.epochs=3", "seed=0,1,2,3,4", *ONE_THREAD, cwd=tmp_path, check=True)
    alone = [summary(run_dir) for run_dir in run_dirs(tmp_path)]
    ours = summary(only_run(shared[0]))
    for key in ("acc", "loss", "spikes"):
        values = [each["test"][key] for each in alone]
        print(f"{key}: {ours['test'][key]:.4f} by two processes, {values} by one")
        assert min(values) <= ours["test"][key] <= max(values)
    first = [next(iter(rows(folder))) for folder in (only_run(shared[0]), run_dirs(tmp_path)[0])]
    assert first[0]["train/loss"] == pytest.approx(first[1]["train/loss"], rel=0.01)  # the same order of samples


def test_evaluation_gives_equal_metrics(shared: tuple[Path, str], tmp_path: Path) -> None:
    """The run has evaluated best.pt by two processes; here one and three do, in other batches."""
    run_dir = only_run(shared[0])
    test = ("mode=test", f"checkpoint={run_dir}/checkpoints/best.pt", "logger=none", "trainer.eval_batch_size=77")
    snnrun(*test, "hydra.run.dir=one", cwd=tmp_path, check=True)
    torchrun.run(3, *test, "hydra.run.dir=three", cwd=tmp_path)
    expected = summary(run_dir)
    curve = json.loads((run_dir / "test_curve.json").read_text())
    for folder in (tmp_path / "one", tmp_path / "three"):
        found = summary(folder)
        assert found["mode"] == "test"
        for part in ("val", "test"):
            losses = [content[part].pop("loss") for content in (found, {part: dict(expected[part])})]
            assert losses[0] == pytest.approx(losses[1], rel=1e-6)
            assert found[part] == {key: value for key, value in expected[part].items() if key != "loss"}
        assert json.loads((folder / "test_curve.json").read_text()) == curve
        assert (folder / "plots" / "confusion.png").read_bytes() == (run_dir / "plots" / "confusion.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("optimizer.lr=1e38",), "is not finite in epoch 1", marks=pytest.mark.slow),
        (("dataset=nmnist", "dataset.root=nowhere"), "nowhere"),
    ],
)
def test_an_error_is_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = torchrun.run(2, "debug=fast", *ONE_THREAD, *arguments, cwd=tmp_path, check=False)
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("snnrun:")]
    assert line.startswith("snnrun: error:")
    assert said in line
    assert {summary(run_dir)["status"] for run_dir in run_dirs(tmp_path)} <= {"failed"}


def test_killed_stopped_and_resumed_by_another_number_of_processes(tmp_path: Path) -> None:
    run_dir = tmp_path / "cut"
    process = torchrun.popen(2, *LONG, cwd=tmp_path)
    wait_for_epoch(run_dir, 1)
    ranks = [pid for pid in descendants(process.pid) if pid != summary(run_dir)["pid"]]
    os.kill(ranks[0], signal.SIGKILL)
    killed = time.monotonic()
    _, errors = process.communicate(timeout=60)
    print(f"a process was killed; the job ended {time.monotonic() - killed:.1f} s later")
    assert process.returncode != 0
    (line,) = [line for line in errors.splitlines() if line.startswith("snnrun:")]
    assert "another process of this run is gone" in line or "stopped by signal 15" in line
    assert status(run_dir) == "interrupted"
    state = checkpoint.load(run_dir / LAST)
    assert state["epoch"] >= 1

    process = torchrun.popen(2, f"resume={run_dir}", cwd=tmp_path)
    wait_for_epoch(run_dir, state["epoch"] + 2)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"goes on after step {state['step']:,} of" in output
    assert "snnrun: stopped by signal 15" in errors
    assert (summary(run_dir)["status"], summary(run_dir)["resumed"]) == ("interrupted", 1)

    state = checkpoint.load(run_dir / LAST)
    last = state["epoch"] + 1
    snnrun(f"resume={run_dir}", f"trainer.epochs={last}", cwd=tmp_path, check=True)
    content = summary(run_dir)
    assert (content["status"], content["processes"], content["epochs"]) == ("finished", 1, last)
    assert [row["step"] for row in rows(run_dir)][:-1] == [32 * (number + 1) for number in range(last)]


SHORT = (*ONE_THREAD, "trainer.epochs=4", "dataset.limit_train=200", "model.layers=fc64-out")


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Results of two processes that nobody stopped."""
    cwd = tmp_path_factory.mktemp("left_alone")
    torchrun.run(2, *SHORT, cwd=cwd)
    return results(only_run(cwd))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_stopped_and_resumed_by_as_many_is_the_same_to_the_bit(
    signum: int, left_alone: dict[str, Any], tmp_path: Path
) -> None:
    run_dir = tmp_path / "cut"
    process = torchrun.popen(2, *SHORT, "hydra.run.dir=cut", cwd=tmp_path)
    wait_for_epoch(run_dir, 1)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    (line,) = [line for line in errors.splitlines() if line.startswith("snnrun:")]
    assert f"stopped by signal {signum:d}" in line
    assert summary(run_dir)["status"] == "interrupted"
    assert 0 < checkpoint.load(run_dir / LAST)["step"] < left_alone["rows"][-1]["step"]
    torchrun.run(2, f"resume={run_dir}", cwd=tmp_path)
    assert results(run_dir) == left_alone


FAILS = """
import os
from snnrun import trainer
from snnrun.errors import UserError
inner, calls = trainer.gradient_step, []
def fails(*args, **kwargs):
    calls.append(1)
    if os.environ.get("RANK") == os.environ["FAILS"] and len(calls) == 40:
        raise UserError("a recording went away", "Put it back")
    return inner(*args, **kwargs)
trainer.gradient_step = fails
"""


@pytest.mark.parametrize("rank", ["1", pytest.param("0", marks=pytest.mark.slow)])
def test_an_error_of_one_process_in_the_middle_is_told_by_the_first(
    rank: str, left_alone: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    monkeypatch.setenv("FAILS", rank)
    started = time.monotonic()
    result = torchrun.run(2, *SHORT, "plugins=[fails]", "hydra.run.dir=cut", cwd=tmp_path, check=False)
    print(f"process {rank} failed in the middle; started and ended within {time.monotonic() - started:.1f} s")
    assert time.monotonic() - started < 60
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("snnrun:")]
    assert line == "snnrun: error: a recording went away. Put it back."
    assert summary(tmp_path / "cut")["status"] == "failed"
    torchrun.run(2, "resume=cut", cwd=tmp_path)
    assert results(tmp_path / "cut") == left_alone


def wait_for_epoch(run_dir: Path, epochs: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (run_dir / "metrics.jsonl").exists() and len(rows(run_dir)) >= epochs:
            return
        time.sleep(0.02)
    raise AssertionError(f"{run_dir} did not come to epoch {epochs}")

"""Interrupted after any batch and resumed, a run ends as one that was left alone: to the bit, for every method."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from cli import rows, summary, timeless

from snnrun.composition import compose_node, to_plain
from snnrun.config import check
from snnrun.errors import Interrupted
from snnrun.experiment import Run
from snnrun.losses import Latency
from snnrun.observers import PlotsObserver
from snnrun.registry import register
from snnrun.resume import compose_resume
from snnrun.rundir import BEST, LAST
from snnrun.stop import Stop

SMALL = (
    *("logger=none", "trainer.threads=1", "trainer.epochs=3", "trainer.batch_size=16", "trainer.eval_batch_size=16"),
    *("dataset.limit_train=40", "dataset.limit_val=30", "dataset.limit_test=30", "model.layers=fc24-out"),
)
BATCHES = 3 * (3 + 2)  # of training and validation


class StopAfter(Stop):
    """A stop signal that comes during the given batch."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    @property
    def requested(self) -> bool:
        self.left -= 1
        if self.left == 0:
            self._pending.append(2)
        return bool(self._pending)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread; and no plots, which have tests of their own and would take most of the time."""
    monkeypatch.setattr(PlotsObserver, "finish", lambda *arguments: None)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def start(run_dir: Path, *overrides: str, stop: Stop | None = None) -> None:
    Run(check(to_plain(compose_node([*SMALL, *overrides]))), run_dir, "tests", stop or Stop())()


def resume(run_dir: Path, *overrides: str, stop: Stop | None = None) -> None:
    config, state, folder, group = compose_resume([f"resume={run_dir}", *overrides], None)
    assert group == "tests"
    Run(config, folder, group, stop or Stop(), state)()


def left_by(run_dir: Path) -> dict[str, Any]:
    """Everything that a run leaves, times aside; weights and optimizer of both checkpoints included."""
    content = summary(run_dir)
    checkpoints = {name: torch.load(run_dir / name, weights_only=True) for name in (BEST, LAST)}
    found: dict[str, Any] = {key: content[key] for key in ("status", "val", "test", "epochs", "best_epoch", "data")}
    found["rows"] = [timeless(row) for row in rows(run_dir)]
    for name, state in checkpoints.items():
        train = state.pop("train")
        del state["run_id"]
        found[name] = state | {"norms": train["norms"], "totals": train["totals"], "best": train["best"]}
    return found


def assert_same(ours: Any, theirs: Any, where: str = "") -> None:
    """To the bit."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize(
    "batches",
    [(1, 3, 4, 5, 8, 10, 13), pytest.param(range(1, BATCHES + 1), marks=pytest.mark.slow)],
    ids=("some", "all"),
)
def test_after_every_single_batch(batches: Sequence[int], tmp_path: Path) -> None:
    start(tmp_path / "whole")
    expected = left_by(tmp_path / "whole")
    for batch in batches:
        run_dir = tmp_path / str(batch)
        with pytest.raises(Interrupted):
            start(run_dir, stop=StopAfter(batch))
        assert summary(run_dir)["status"] == "interrupted"
        resume(run_dir)
        assert_same(left_by(run_dir), expected, f"batch {batch}")


@pytest.mark.parametrize(
    "options",
    [
        ("method=activation", "optimizer=sgd", "optimizer.momentum=0.9", "scheduler=cosine"),
        ("method=timing", "optimizer=adamw", "scheduler=step", "scheduler.every=1", "model.shift=0.05"),
        ("method=hybrid", "loss=count", "model.init=calibrate"),
        ("method=hybrid", "model=conv", "model.layers=conv4c3-apool2-out", "trainer.kernel=reference"),
        ("method=hybrid", "dataset.workers=2"),
    ],
    ids=lambda options: " ".join(options[:2]),
)
def test_again_and_again(options: tuple[str, ...], tmp_path: Path) -> None:
    start(tmp_path / "whole", *options)
    run_dir = tmp_path / "cut"
    with pytest.raises(Interrupted):
        start(run_dir, *options, stop=StopAfter(2))
    for batches in (2, 5, 1):
        with pytest.raises(Interrupted):
            resume(run_dir, stop=StopAfter(batches))
    resume(run_dir)
    assert_same(left_by(run_dir), left_by(tmp_path / "whole"))
    assert summary(run_dir)["resumed"] == 4


def test_a_patient_run_counts_on(tmp_path: Path) -> None:
    options = ("trainer.epochs=9", "trainer.patience=2", "optimizer.lr=1e-12")
    start(tmp_path / "whole", *options)
    with pytest.raises(Interrupted):
        start(tmp_path / "cut", *options, stop=StopAfter(7))
    resume(tmp_path / "cut")
    assert_same(left_by(tmp_path / "cut"), left_by(tmp_path / "whole"))
    assert summary(tmp_path / "cut")["epochs"] == 3


def test_a_method_that_draws_at_random(tmp_path: Path) -> None:
    """Torch's generator is seeded, so what a plugin draws from it repeats."""

    @register("loss", "noisy")
    @dataclass
    class Noisy(Latency):
        def __call__(self, output: Any, targets: Any) -> torch.Tensor:
            noise = torch.rand(()) if output.s.requires_grad or torch.is_grad_enabled() else torch.ones(())
            return super().__call__(output, targets) * noise

    node = to_plain(compose_node(SMALL)) | {"loss": {"name": "noisy"}}
    Run(check(node), tmp_path / "whole", "tests", Stop())()
    with pytest.raises(Interrupted):
        Run(check(node), tmp_path / "cut", "tests", StopAfter(5))()
    resume(tmp_path / "cut")
    assert_same(left_by(tmp_path / "cut"), left_by(tmp_path / "whole"))


def test_a_simulation_that_ends_early_looks_first_where_it_would_have(tmp_path: Path) -> None:
    """Where the last pass ended decides how far the next one simulates, and so which spikes train/spikes counts."""
    options = ("model.shift=0.2", "optimizer.lr=0.05", "trainer.epochs=2", "dataset.T=100")
    start(tmp_path / "whole", *options)
    ends = set()
    for batch in (1, 2, 3, 6, 7):
        run_dir = tmp_path / str(batch)
        with pytest.raises(Interrupted):
            start(run_dir, *options, stop=StopAfter(batch))
        ends.add(torch.load(run_dir / LAST, weights_only=True)["steps_needed"])
        resume(run_dir)
        assert_same(left_by(run_dir), left_by(tmp_path / "whole"))
    assert len(ends) > 1
    assert min(ends) < 80


def test_a_finished_run_goes_on_for_more_epochs(tmp_path: Path) -> None:
    start(tmp_path / "long", "scheduler=step", "scheduler.every=1")
    start(tmp_path / "short", "trainer.epochs=1", "scheduler=step", "scheduler.every=1")
    resume(tmp_path / "short", "trainer.epochs=3")
    assert_same(left_by(tmp_path / "short"), left_by(tmp_path / "long"))


def test_killed_between_two_files(tmp_path: Path) -> None:
    """last.pt has the epoch, but the row and best.pt were not written any more; the next row was begun."""
    start(tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(tmp_path / "cut", stop=StopAfter(5))
    resume(tmp_path / "cut", "trainer.epochs=1")
    cut = tmp_path / "cut"
    (cut / "metrics.jsonl").write_text('{"epoch": 1, "step"')
    (cut / BEST).unlink()
    (cut / f"{BEST}.tmp").write_bytes(b"half")
    content = summary(cut) | {"status": "interrupted"}
    (cut / "summary.json").write_text(json.dumps(content))
    resume(cut, "trainer.epochs=3")
    assert_same(left_by(cut), left_by(tmp_path / "whole"))
    assert sorted(path.name for path in (cut / "checkpoints").iterdir()) == ["best.pt", "last.pt"]


def test_often_within_an_epoch(tmp_path: Path) -> None:
    """checkpoint_minutes: a kill between two steps costs no more than one."""
    start(tmp_path / "whole")
    saved: list[int] = []

    class Killed(StopAfter):
        def obey(self) -> None:
            saved.append(torch.load(tmp_path / "cut" / LAST, weights_only=True)["train"]["batches"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "cut", "trainer.checkpoint_minutes=0", stop=Killed(2))
    assert saved == [2]
    resume(tmp_path / "cut")
    ours, theirs = left_by(tmp_path / "cut"), left_by(tmp_path / "whole")
    for name in (BEST, LAST):
        ours[name].pop("config")
        theirs[name].pop("config")
    assert_same(ours, theirs)


def test_a_signal_while_a_finished_run_closes_leaves_it_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise Interrupted(2)

    monkeypatch.setattr(PlotsObserver, "finish", interrupted)
    with pytest.raises(Interrupted):
        start(tmp_path, "trainer.epochs=1")
    assert summary(tmp_path)["status"] == "finished"
    assert (tmp_path / "test_curve.json").exists()

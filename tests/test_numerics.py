"""Networks and data at the edge: it trains, or says why not."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

from snnrun import cli

TINY = ("debug=fast", "logger=none", "trainer.threads=1", "model.layers=fc8-out", "dataset.limit_train=40")


def run(*arguments: str) -> tuple[int, str]:
    """In the current folder; exit code and what came to stderr."""
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        code = cli.main([*TINY, *arguments])
    assert errors.getvalue().count("\n") <= 1
    return code, errors.getvalue()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        "dataset.T=1 dataset.t_last=0",
        "dataset.T=1 dataset.t_last=0 loss=spike_train loss.period=1 method=timing",
        "dataset.limit_train=1 dataset.limit_val=1 dataset.limit_test=1",
        "trainer.batch_size=1000000000 trainer.eval_batch_size=1000000000",
        "trainer.batch_size=9223372036854775807",
        "model.shift=-100",  # silent for ever
        "model.shift=-100 method=timing",
        "model.shift=1000",  # every neuron fires at every step
        "model.shift=1000 method=timing",
        "model.shift=1000 loss=count",
        "model.shift=-100 model.init=calibrate",
        "dataset.coding=rate dataset.max_rate=0",  # no input
        "dataset.coding=rate dataset.max_rate=1",
        "model.alpha_i=1 model.alpha_v=1",
        "model.alpha_i=0 model.alpha_v=0",
    ],
)
def test_edges_train(options: str) -> None:
    code, errors = run(*options.split())
    assert code == 0 or re.search(r"snnrun: error: .*\. .*", errors), errors
    assert code in (0, 2)


@pytest.mark.parametrize("options", ["optimizer.lr=1e6", "optimizer.lr=1e38", "optimizer.lr=1e308", "model.gain=1e300"])
def test_huge_steps_train_or_say_that_they_diverge(options: str) -> None:
    code, errors = run(options, "optimizer=sgd", "trainer.epochs=2")
    assert code == 0 or (code == 2 and ("not finite" in errors or "float32" in errors)), errors
    if code == 0:
        best = torch.load(next(Path("outputs").rglob("best.pt")), weights_only=True)
        assert all(torch.isfinite(weight).all() for weight in best["network"].values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_checkpoint_that_is_not_finite(value: float) -> None:
    assert run("hydra.run.dir=run") == (0, "")
    for name in ("best", "last"):
        path = Path(f"run/checkpoints/{name}.pt")
        state = torch.load(path, weights_only=True)
        next(iter(state["network"].values())).fill_(value)
        torch.save(state, path)
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        assert cli.main(["mode=test", "checkpoint=run/checkpoints/best.pt", "logger=none"]) == 2
        assert cli.main(["resume=run", "trainer.epochs=3"]) == 2
    assert errors.getvalue().count("holds a weight that is not finite") == 2


def test_what_cannot_fit_is_told_before_anything_is_made() -> None:
    for option in (
        "model.layers=fc99999999999-out",
        "dataset.T=999999999999",
        "model.layers=fc10000000-fc10000000-out",
    ):
        code, errors = run(option)
        assert code == 2
        assert "GB or more" in errors or "at most" in errors
    assert not Path("outputs").exists()

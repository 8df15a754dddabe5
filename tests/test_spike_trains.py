"""spike_trains: what is drawn, what is refused, and that every method comes closer to the targets."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli import only_run, rows, run_dirs, snnrun, summary

from snnrun.composition import compose_node, to_plain
from snnrun.config import check
from snnrun.data import Quiet
from snnrun.data.spike_trains import SpikeTrains
from snnrun.errors import UserError


def dense(options: SpikeTrains) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, [T, samples, neurons]."""
    source = options.load(0, Quiet()).test.source
    everything = np.arange(len(source))
    train = source.targets(everything).train
    assert train is not None
    spikes = source.spikes(everything)
    return spikes.dense().numpy(), train.numpy()  # type: ignore[union-attr]


def test_trains_have_the_density_asked_for() -> None:
    inputs, targets = dense(SpikeTrains(samples=50, density=0.1, T=80, inputs=30, outputs=7))
    assert inputs.shape == (80, 50, 30)
    assert targets.shape == (80, 50, 7)
    assert set(np.unique(targets)) == {0.0, 1.0}
    assert inputs.mean() == pytest.approx(0.1, abs=0.003)
    assert targets.mean() == pytest.approx(0.1, abs=0.006)
    inputs, targets = dense(SpikeTrains(samples=50, density=0.1, input_density=0.3, target_density=0.02))
    assert inputs.mean() == pytest.approx(0.3, abs=0.01)
    assert targets.mean() == pytest.approx(0.02, abs=0.004)


def test_spikes_and_targets_of_some_samples_are_those_of_all() -> None:
    source = SpikeTrains(samples=6).load(0, Quiet()).train.source
    all_targets = source.targets(np.arange(6)).train
    some = np.array([4, 1])
    np.testing.assert_array_equal(source.spikes(some).dense(), source.spikes(np.arange(6)).dense()[:, some])  # type: ignore[union-attr]
    np.testing.assert_array_equal(source.targets(some).train, all_targets[:, some])  # type: ignore[index, arg-type]


def test_draw_seed_decides_the_trains_and_the_runs_seed_does_not() -> None:
    first, same = (SpikeTrains().load(seed, Quiet()).hash for seed in (0, 1))
    assert first == same != SpikeTrains(draw_seed=1).load(0, Quiet()).hash


def test_all_parts_hold_the_same_pairs() -> None:
    data = SpikeTrains(samples=6, repeats=3).load(0, Quiet())
    assert data.train.indices.tolist() == list(range(6)) * 3
    assert data.val.indices.tolist() == data.test.indices.tolist() == list(range(6))
    limited = SpikeTrains(samples=6, repeats=2, limit_train=4, limit_val=2, limit_test=3).load(0, Quiet())
    shown = set(limited.train.indices.tolist())
    assert (len(shown), len(limited.train), len(limited.val), len(limited.test)) == (4, 8, 2, 3)
    assert shown > set(limited.val.indices.tolist())
    assert shown > set(limited.test.indices.tolist())


def test_a_share_for_validation_is_refused() -> None:
    with pytest.raises(UserError, match=r"val_share is 0\.1, but all of spike_trains is trained on"):
        SpikeTrains(val_share=0.1).check()


@pytest.mark.parametrize("method", ["activation", "timing", "hybrid"])
def test_the_preset_composes_with_every_method(method: str) -> None:
    config = check(to_plain(compose_node(["experiment=spike_train_matching", f"method={method}"])))
    assert (config.loss.name, config.dataset.name) == ("spike_train", "spike_trains")
    assert config.trainer.epochs * config.dataset.load(0, Quiet()).train.indices.size == 1000


def test_the_no_spike_remedy_is_weak_on_target_trains_and_the_user_wins() -> None:
    def penalty(*overrides: str) -> float:
        node = compose_node(["experiment=spike_train_matching", "method=timing", *overrides])
        return check(to_plain(node)).method.penalty  # type: ignore[attr-defined, no-any-return]

    assert penalty() == 0.1
    assert penalty("method.penalty=100") == 100


def test_losses_that_need_labels_are_refused(tmp_path: Path) -> None:
    result = snnrun("dataset=spike_trains", "loss=count", cwd=tmp_path)
    assert result.returncode == 2
    assert "cannot learn from loss=count" in result.stderr
    assert "Losses that work: spike_train" in result.stderr


def test_a_run_has_no_accuracies_and_selects_by_its_loss(tmp_path: Path) -> None:
    snnrun("experiment=spike_train_matching", "debug=fast", "logger=none", cwd=tmp_path, check=True)
    run = only_run(tmp_path)
    content = summary(run)
    assert content["monitor"] == "val/loss"
    assert content["test"]["acc"] is content["test"]["spikes_per_correct"] is None
    assert content["test"]["loss"] > 0
    assert json.loads((run / "test_curve.json").read_text())["acc"] is None
    assert {path.name for path in (run / "plots").iterdir()} == {"learning_curves.png", "raster.png"}


@pytest.mark.slow
@pytest.mark.parametrize("density", [0.01, 0.05])
def test_every_method_lowers_the_distance(tmp_path: Path, density: float) -> None:
    swept = ("method=activation,timing,hybrid", f"dataset.density={density}", "logger=none")
    snnrun("-m", "experiment=spike_train_matching", *swept, cwd=tmp_path, check=True)
    for run in run_dirs(tmp_path):
        first = rows(run)[0]["val/loss"]
        assert summary(run)["val"]["loss"] < 0.9 * first, summary(run)["method"]

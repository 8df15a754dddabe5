"""Predicted against real changes of the loss: numbers that can be known beforehand, and the script as users run it."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli import environment

import snnrun
from snnrun import kernels, registry
from snnrun.composition import compose_node, to_plain
from snnrun.config import check
from snnrun.data import Batch, Quiet
from snnrun.experiment import Run
from snnrun.gradients.agreement import agreement
from snnrun.gradients.cli import main
from snnrun.gradients.landscape import landscape, neuron, ways_down
from snnrun.gradients.probes import directions, gradients_of, noise, single_weights, step_down
from snnrun.gradients.problem import Problem, compose
from snnrun.gradients.subject import Subject
from snnrun.losses import Latency, Targets
from snnrun.methods import Activation, Hybrid, Timing
from snnrun.snn import Events
from snnrun.snn.models import Model
from snnrun.step import gradient_step
from snnrun.stop import Stop

ROOT = Path(__file__).resolve().parent.parent
METHODS = {"activation": Activation(), "timing": Timing(), "hybrid": Hybrid()}
SMALL = ("model.layers=fc12-out", "dataset.limit_train=40", "trainer.threads=1")


@pytest.fixture(scope="module")
def problem() -> Problem:
    return compose(SMALL)


@pytest.fixture
def subject(problem: Problem) -> Subject:
    return problem.subject(0, 20)


def draw(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


# -- agreement -----------------------------------------------------------------------------------------------------


def test_a_prediction_right_but_for_its_scale() -> None:
    p = draw(0).standard_normal((2, 30, 2))
    found = agreement(p, 3 * p, draw(1))
    for estimate in (found.correlation, found.cosine, found.sign, found.odd):
        assert np.allclose(estimate, 1)
    assert np.allclose(found.scale, 3)
    assert (found.unchanged, found.silent) == (0, 0)


def test_statistics_are_the_textbooks() -> None:
    p, noise = draw(0).standard_normal((2, 1, 200, 2))
    r = 0.5 * p + noise + 0.3
    found = agreement(p, r, draw(1))
    assert found.correlation.value == pytest.approx(np.corrcoef(p.ravel(), r.ravel())[0, 1])
    assert found.cosine.value == pytest.approx((p * r).sum() / np.sqrt((p**2).sum() * (r**2).sum()))
    assert found.sign.value == pytest.approx((np.sign(p) == np.sign(r)).mean())
    assert found.scale.value == pytest.approx((p * r).sum() / (p**2).sum())
    odd = np.corrcoef(p[..., 0].ravel() - p[..., 1].ravel(), r[..., 0].ravel() - r[..., 1].ravel())[0, 1]
    assert found.odd.value == pytest.approx(odd, abs=0.01)
    assert found.correlation.low < 0.45 < found.correlation.high
    assert 0.1 < found.correlation.high - found.correlation.low < 0.25  # about 2 * 1.96 (1 - r^2) / sqrt(400)


def test_intervals_hold_0_in_19_of_20_cases_without_a_relation() -> None:
    outside = 0
    for seed in range(100):
        p, r = draw(seed).standard_normal((2, 1, 50, 2))
        low, high = agreement(p, r, draw(seed, 1)).correlation[1:]
        outside += not low < 0 < high
    assert outside <= 14


def test_nothing_changes_and_nothing_is_predicted() -> None:
    some, none = draw(0).standard_normal((1, 20, 2)), np.zeros((1, 20, 2))
    unchanged = agreement(some, none, draw(1))
    assert np.isnan(unchanged.correlation).all()
    assert np.isnan(unchanged.sign.value)
    assert unchanged.unchanged == 1
    silent = agreement(none, some, draw(1))
    assert silent.correlation == (0, 0, 0)
    assert silent.sign.value == 0.5  # no worse than a coin
    assert silent.silent == 1


# -- what is predicted, and what the loss does ---------------------------------------------------------------------


def first_spikes(layers: str, samples: int = 600, inputs: int = 30) -> Subject:
    """Neurons whose first spike times are the loss, in so many samples that its steps are small."""
    T, rng = 200, draw(0)
    spikes = torch.zeros(T, samples, inputs)
    steps = rng.integers(0, 120, (samples, inputs))
    spikes[torch.from_numpy(steps), torch.arange(samples)[:, None], torch.arange(inputs)[None]] = 1
    labels = torch.zeros(samples, dtype=torch.int64)
    model = Model(layers=layers, alpha_i=0.98, alpha_v=0.98)
    networks = {"timing": model.build((inputs,), 5, T, METHODS["timing"], kernels.load("cpu"))}
    with torch.no_grad():
        for synapse in networks["timing"].synapses:
            weights = rng.uniform(0.1, 0.3, tuple(synapse.weight.shape)).astype(np.float32)
            synapse.weight.copy_(torch.from_numpy(weights))
    return Subject(networks, Latency(), Batch(Events.from_dense(spikes), Targets(labels)))


@pytest.mark.parametrize("layers", ["out", "fc10-out"])
def test_a_smooth_loss_does_what_its_gradient_predicts(layers: str) -> None:
    subject = first_spikes(layers)
    gradients = gradients_of(subject)
    for changes in (
        directions(subject, gradients, [0.05], 30, draw(1)),
        single_weights(subject, gradients, len(subject.layers) - 1, [0.3], 30, draw(1)),
    ):
        found = agreement(changes.predicted["timing"], changes.real, draw(2))
        assert found.correlation.value > 0.98
        assert found.sign.value > 0.9
        assert found.scale.value == pytest.approx(1, abs=0.07)
    if layers != "out":  # what the first layer's weights do is smaller, and the steps of the loss stand out more
        changes = single_weights(subject, gradients, 0, [1.0], 30, draw(1))
        assert agreement(changes.predicted["timing"], changes.real, draw(2)).odd.value > 0.95
    down = step_down(subject, gradients["timing"], 0.01)
    assert down.decrease == pytest.approx(down.predicted, rel=0.1)
    assert step_down(subject, -gradients["timing"], 0.01).decrease < 0


@pytest.mark.parametrize("options", [(), ("loss=latency",), ("loss.rate_weight=0.01",), ("loss=count",)])
def test_the_loss_and_the_gradients_are_the_trainers(options: tuple[str, ...]) -> None:
    problem = compose([*SMALL, *options])
    subject = problem.subject(0, 20)
    for name, network in subject.networks.items():
        plain = subject.gradient(name)
        trained = subject.gradient(name, with_hook=True)
        network.zero_grad()
        value, _ = gradient_step(network, subject.loss, *subject.batch)
        assert subject.loss_here == pytest.approx(float(value), rel=2e-6)
        steps = [synapse.weight.grad.reshape(-1).double() for synapse in network.synapses]  # type: ignore[union-attr]
        assert np.array_equal(trained, torch.cat(steps).numpy())
        assert np.allclose(plain, trained, rtol=1e-4, atol=1e-7) == (name != "timing")  # its remedy is no derivative


def test_networks_begin_as_those_of_runs(problem: Problem, tmp_path: Path) -> None:
    overrides = ["loss=spike_train", "logger=none", "seed=1", *SMALL]
    run = Run(check(to_plain(compose_node(overrides))), tmp_path, "", Stop())
    run.reporter, run.state, run.testing, run.summary = Quiet(), None, False, {}
    network, _ = run._build()
    theirs = np.concatenate([synapse.weight.detach().numpy().reshape(-1) for synapse in network.synapses])
    assert np.array_equal(problem.subject(1, 20).weights, theirs)


def test_directions_are_as_long_as_asked_in_each_layer(subject: Subject) -> None:
    here = subject.weights.copy()
    seen: list[np.ndarray] = []
    subject.loss_at = lambda weights: seen.append(weights - here) or 0.0  # type: ignore[func-returns-value,method-assign]
    directions(subject, {}, [0.1], 3, draw(0))
    assert len(seen) == 6
    for change in seen:
        for where in subject.layers:
            assert np.linalg.norm(change[where]) == pytest.approx(0.1 * np.linalg.norm(here[where]), rel=1e-4)


def test_weights_behind_silent_inputs_are_left_out(subject: Subject) -> None:
    for layer, where in enumerate(subject.layers):
        reached = subject.reached(layer)
        unreached = np.setdiff1d(np.arange(where.start, where.stop), reached)
        assert len(reached)
        changed = subject.weights.copy()
        changed[unreached] += 10
        assert subject.loss_at(changed) == subject.loss_here
    assert len(subject.reached(0)) < subject.layers[0].stop  # some pixels of digits are never lit


def test_changes_too_small_for_any_spike_do_nothing(subject: Subject) -> None:
    changes = directions(subject, gradients_of(subject), [1e-9, 0.1], 5, draw(0))
    assert (changes.real[0] == 0).all()
    assert (changes.real[1] != 0).any()
    assert noise(subject, draw(1)) < np.abs(changes.real[1]).max()


def test_density_is_what_was_asked_for(problem: Problem) -> None:
    for rate in (0.25, 2.0):
        subject = problem.subject(0, 20, rate)
        assert subject.spikes(subject.weights) == pytest.approx([rate, rate], rel=0.2)


# -- the landscape -------------------------------------------------------------------------------------------------


def test_without_a_spike_only_activation_has_a_gradient() -> None:
    subject = neuron(METHODS, (0.1, 0.1))
    assert subject.spikes(subject.weights) == [0]
    gradients = gradients_of(subject)
    assert (gradients["timing"] == 0).all()
    assert (gradients["activation"] < 0).all()  # larger weights would bring the spikes that are missing


def test_the_hybrid_field_is_the_sum_of_both() -> None:
    found = landscape(METHODS, points=21, arrows=6)
    both = found.fields["activation"] + found.fields["timing"]
    assert np.allclose(found.fields["hybrid"], both, rtol=1e-4, atol=1e-6)
    silent = (found.fields["timing"] == 0).all(-1)
    assert 0 < silent.mean() < 1
    assert found.ways["timing"].nowhere >= silent.mean()
    assert all(sum(ways) == pytest.approx(1) for ways in found.ways.values())


def test_ways_in_a_bowl() -> None:
    weights, at = np.linspace(-1, 1, 41), np.linspace(-0.8, 0.8, 4)
    bowl = np.round(5 * (weights[:, None] ** 2 + weights**2))
    gradient = np.stack(np.meshgrid(at, at), -1)
    assert ways_down(weights, bowl, at, gradient).down == 1
    assert ways_down(weights, bowl, at, -gradient).up == 1
    assert ways_down(weights, bowl, at, 0 * gradient).nowhere == 1


# -- the script ----------------------------------------------------------------------------------------------------

FEW = ("--networks", "2", "--batch", "20", "--batches", "1", "--directions", "5", "--weights", "5")
SIZES = ("--sizes", "0.1,0.03", "--weight-sizes", "1", "--rates", "0.3,2", "--no-landscape")


def script(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "gradient_quality.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120)


def test_the_script_measures_and_draws_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = script(*FEW, *SIZES, *SMALL, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    out = tmp_path / "outputs" / "gradient_quality"
    assert {path.name for path in out.glob("*.png")} == {"prediction.png", "sizes.png", "density.png", "steps.png"}
    rows = list(csv.DictReader((out / "agreement.csv").read_text().splitlines()))
    assert {row["method"] for row in rows} == {"activation", "timing", "hybrid", "secant"}
    assert {row["rate"] for row in rows} == {"", "0.3", "2.0"}
    assert all(-1 <= float(row["correlation"]) <= 1 for row in rows if row["correlation"] != "nan")
    assert "timing with remedy" in result.stdout
    monkeypatch.setattr("snnrun.gradients.plots.draw", lambda *_: [])
    assert main([*FEW, *SIZES, *SMALL, "--out", str(tmp_path / "again")]) == 0
    for name in ("agreement.csv", "changes.csv", "gradients.csv", "steps.csv"):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_a_network_without_a_spike_is_measured_and_drawn(tmp_path: Path) -> None:
    few = ("--networks", "1", "--batch", "5", "--batches", "1", "--directions", "2", "--weights", "2")
    one = ("--sizes", "0.1", "--weight-sizes", "1", "--rates", "1", "--no-landscape")
    assert main([*few, *one, *SMALL, "model.shift=-1", "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "agreement.csv").read_text().splitlines()))
    assert {(row["hidden_spikes"], row["correlation"], row["unchanged"]) for row in rows} == {("0.0", "nan", "1.0")}


def test_a_trained_network_with_another_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    summary = snnrun.run(["debug=fast", "logger=none", "method=hybrid", "loss=count", *SMALL])
    path = f"{summary['run_dir']}/checkpoints/best.pt"
    problem = compose(["loss=spike_train"], checkpoint=path)
    assert (problem.config.loss.name, list(problem.methods)) == ("spike_train", ["activation", "timing", "hybrid"])
    weights = [synapse.weight.detach().numpy().reshape(-1) for synapse in snnrun.load(path).synapses]
    assert np.array_equal(problem.subject(0, 20).weights, np.concatenate(weights))
    assert compose([], checkpoint=path).left_out == ["timing"]  # count feeds no spike times
    monkeypatch.setattr("snnrun.gradients.plots.draw", lambda *_: [])
    assert main(["--checkpoint", path, *FEW, *SIZES, "--rates", "none", "--out", "out"]) == 0
    assert ",density," not in Path("out/agreement.csv").read_text()
    assert main(["--checkpoint", path, "model.layers=fc3-out"]) == 2


def test_options_go_to_the_methods_that_have_them() -> None:
    problem = compose([*SMALL, "method.lambda_tim=3", "method.surrogate_sharpness=5"])
    assert problem.methods["hybrid"] == Hybrid(lambda_tim=3, surrogate_sharpness=5)
    assert problem.methods["activation"] == Activation(surrogate_sharpness=5)
    assert set(problem.methods) == set(registry.names("method"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model.layer=fc3"], "model.layer"),
        (["method=timing"], "--methods"),
        (["seed=1"], "--seed"),
        (["loss=count,latency"], "several values"),
        (["--methods", "typo"], "typo"),
        (["--methods", "activation", "loss=latency"], "cannot learn"),
        (["method.lambda=3"], "lambda"),
        (["--sizes", "0.1,x"], "'0.1,x'"),
        (["--sizes", "0"], "'0'"),
        (["--batch", "0"], "'0'"),
        (["--checkpoint", "missing.pt"], "missing.pt"),
        (["trainer.device=cuda"], "trainer.device"),
        (["--out", "file"], "file"),
        (["=="], "KEY=VALUE"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main([*arguments, *FEW]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("snnrun: error: ")
    assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

"""The CPU kernel against the reference: random networks, all methods and losses, edges, threads, early end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnrun.kernels import NeuronConstants, cpu, reference, unit_beta
from snnrun.kernels.cpu import threads
from snnrun.kernels.cpu.formula import CannotCompile, compile_formula
from snnrun.losses import Count, Latency, Loss, SpikeTrain, Targets
from snnrun.methods import Activation, Hybrid, Method, Timing
from snnrun.metrics import Metrics
from snnrun.snn import Events, Network, Neuron, Trace, parse_layers
from snnrun.step import gradient_step

PAIRS: list[tuple[Method, Loss]] = [
    (Activation(), Count()),
    (Activation(), SpikeTrain(extension=20)),
    (Timing(), Latency()),
    (Timing(penalty=3.0), SpikeTrain(extension=20)),
    (Hybrid(), Count(true_count=3, false_count=1)),
    (Hybrid(lambda_act=0.5, lambda_tim=2.0), Latency()),
    (Hybrid(), SpikeTrain(extension=20)),
    (Hybrid(), Latency(rate_weight=0.01)),
    (Activation(surrogate_scale=0.5, surrogate_sharpness=1.0), Count(rate_weight=0.02)),
    (Timing(), Latency(rate_weight=0.02)),
]


def network(kernel: object, layers: str, shape: tuple[int, ...], classes: int, T: int, method: Method) -> Network:
    beta = unit_beta(0.9, 0.95, T)
    constants = NeuronConstants(0.9, 0.95, 1.2, beta, 0.7 * beta)
    return Network(parse_layers(layers, shape, classes), Neuron(constants, method, kernel))  # type: ignore[arg-type]


def both(
    layers: str, shape: tuple[int, ...], classes: int, T: int, method: Method, seed: int, gain: float, shift: float
) -> list[Network]:
    """The same network on the reference and on the CPU kernel."""
    torch.manual_seed(seed)
    networks = [network(kernel, layers, shape, classes, T, method) for kernel in (reference, cpu)]
    with torch.no_grad():
        for synapse in networks[0].synapses:
            synapse.weight.mul_(gain).add_(shift)
            synapse.bias.uniform_(-0.1, 0.1)
    networks[1].load_state_dict(networks[0].state_dict())
    return networks


def bits(*shape: int, rate: float, seed: int = 0) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def near_threshold(plain: Network, trace: Trace, spikes: torch.Tensor) -> bool:
    """Whether some potential of the reference lies within float rounding of the threshold."""
    x = spikes.flatten(2)
    for layer in trace.layers:
        potential = reference.simulate(
            F.linear(x, layer.synapse.weight), layer.synapse.bias, plain.neuron.constants
        ).potential
        if ((potential - 1).abs() < 1e-5).any():
            return True
        x = layer.spikes.s
    return False


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    # below the floor are sums of terms that cancel, of which only rounding is left
    return (ours - theirs).abs().max().item() / max(theirs.abs().max().item(), 1e-2)


def hold_together(networks: list[Network], loss: Loss, spikes: torch.Tensor, label: torch.Tensor) -> bool:
    """Compare one gradient; False where rounding decided about a spike, so that nothing can be compared."""
    (plain_value, plain), (value, fast) = (gradient_step(n, loss, spikes, Targets(label)) for n in networks)
    term = fast.steps
    for ours, theirs in zip(fast.layers, plain.layers, strict=True):
        if not torch.equal(ours.spikes.s[:term], theirs.spikes.s[:term]):
            with torch.no_grad():
                assert near_threshold(networks[0], plain, spikes)
            return False
    assert value.item() == pytest.approx(plain_value.item(), rel=1e-5, abs=1e-7)
    for (name, ours_p), theirs_p in zip(networks[1].named_parameters(), networks[0].parameters(), strict=True):
        assert ours_p.grad is not None
        assert theirs_p.grad is not None
        assert relative_error(ours_p.grad, theirs_p.grad) < 1e-4, name
    return True


sizes = st.sampled_from([1, 2, 7, 15, 16, 17, 33, 64, 65, 80, 81, 100, 170])


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(
    hidden=st.lists(sizes, max_size=3),
    inputs=st.sampled_from([1, 3, 20, 65, 130]),
    classes=st.sampled_from([1, 2, 10, 17]),
    T=st.sampled_from([1, 2, 9, 30, 60]),
    B=st.integers(1, 5),
    rate=st.sampled_from([0.0, 0.02, 0.2, 1.0]),
    gain=st.sampled_from([0.5, 2.0, 6.0]),
    shift=st.sampled_from([-0.5, 0.0, 0.1, 5.0]),
    pair=st.sampled_from(PAIRS),
    seed=st.integers(0, 1000),
)
def test_random_networks(
    hidden: list[int],
    inputs: int,
    classes: int,
    T: int,
    B: int,
    rate: float,
    gain: float,
    shift: float,
    pair: tuple[Method, Loss],
    seed: int,
) -> None:
    method, loss = pair
    layers = "-".join([*(f"fc{n}" for n in hidden), "out"])
    networks = both(layers, (inputs,), classes, T, method, seed, gain, shift)
    spikes = bits(T, B, inputs, rate=rate, seed=seed)
    hold_together(networks, loss, spikes, torch.arange(B) % classes)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_every_pair_on_a_busy_network(pair: tuple[Method, Loss]) -> None:
    """One network per pair in which all layers spike, neither silent nor at rounding: here something is compared."""
    method, loss = pair
    compared = []
    for seed in range(6):
        networks = both("fc90-fc40-out", (50,), 10, 40, method, seed, 2.0, 0.05)
        compared.append(hold_together(networks, loss, bits(40, 4, 50, rate=0.1, seed=seed), torch.arange(4)))
    assert sum(compared) >= 2


@pytest.mark.parametrize("width", [49, 170])
def test_layers_too_wide_for_the_fused_product(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu.dense, "_CHUNK_BYTES", 100_000)  # several chunks of samples
    networks = both(f"fc90-fc{width}-fc{width}-out", (50,), 10, 30, Hybrid(), 0, 2.0, 0.02)
    assert hold_together(networks, Count(rate_weight=0.1), bits(30, 7, 50, rate=0.1), torch.arange(7))


@pytest.mark.parametrize("layers", ["conv3c3-apool2-conv4c5-mpool2-fc20-out", "conv2c3-out"])
@pytest.mark.parametrize("B", [1, 3])
def test_convolutions(layers: str, B: int) -> None:
    networks = both(layers, (2, 9, 11), 5, 20, Hybrid(), 1, 3.0, 0.05)
    assert hold_together(networks, SpikeTrain(extension=10), bits(20, B, 2, 9, 11, rate=0.2), torch.arange(B))


def test_events_and_dense_input_are_the_same() -> None:
    networks = both("fc30-out", (2, 5, 5), 4, 20, Hybrid(), 0, 3.0, 0.1)
    spikes = bits(20, 3, 2, 5, 5, rate=0.1)
    for one in networks:
        assert one(spikes).output.s.equal(one(Events.from_dense(spikes)).output.s)
    with pytest.raises(ValueError, match="must be 0 or 1"):
        networks[1](spikes * 2)


def test_metrics_do_not_depend_on_the_kernel() -> None:
    results = []
    for one in both("fc60-fc30-out", (40,), 5, 50, Hybrid(), 3, 2.0, 0.05):
        metrics = Metrics("first")
        with torch.no_grad():
            metrics.update(one(bits(50, 6, 40, rate=0.1)), torch.arange(6) % 5, 0.0)
        results.append((metrics.result(), metrics.rates(), metrics.silent(), metrics.curve()))
    assert results[0] == results[1]
    assert results[0][0]["spikes"] > 10  # type: ignore[operator]


@pytest.mark.parametrize("method", [Hybrid(), Timing(penalty=2.0)])
def test_early_end_changes_nothing_but_the_work(method: Method) -> None:
    """Loss and gradients of a pass that stopped once all outputs had fired are those of the full window."""
    networks = both("fc80-out", (50,), 3, 400, method, 0, 3.0, 0.3)
    spikes, label = bits(400, 4, 50, rate=0.05), Targets(torch.tensor([0, 1, 2, 0]))
    fast = networks[1]
    _, first = gradient_step(fast, Latency(), spikes, label)  # learns how many steps are needed
    assert first.steps == 400
    fast.zero_grad()
    assert hold_together(networks, Latency(), spikes, label.label)  # type: ignore[arg-type]
    with torch.no_grad():
        assert fast(spikes).steps == 400  # evaluation sees the full window
        ended = fast(spikes, until_fired=True)
    assert ended.steps < 400
    assert not ended.layers[0].spikes.s[ended.steps :].any()


def gradients(one: Network, spikes: torch.Tensor, label: torch.Tensor, loss: Loss) -> list[torch.Tensor]:
    one.zero_grad()
    gradient_step(one, loss, spikes, Targets(label))
    return [p.grad.clone() for p in one.parameters() if p.grad is not None]


@pytest.mark.parametrize("layers", ["fc800-out", "fc100-fc90-fc70-out"])
def test_threads_change_nothing(layers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_WORTHWHILE", 0)
    _, fast = both(layers, (200,), 10, 40, Hybrid(), 0, 2.0, 0.02)
    spikes, label = bits(40, 16, 200, rate=0.05), torch.arange(16) % 10
    before = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3, 2):
            torch.set_num_threads(count)
            results.append(gradients(fast, spikes, label, Latency()))
    finally:
        torch.set_num_threads(before)
    exact = layers == "fc800-out"  # between wide layers there is a library's matrix product
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert torch.equal(one, two) if exact else relative_error(one, two) < 1e-5
    for one, two in zip(results[1], results[3], strict=True):
        assert torch.equal(one, two)


def test_gradients_add_up_and_passes_do_not_mix() -> None:
    """Two passes before the first backward use buffers of their own; potentials are used up by one backward."""
    _, fast = both("fc80-out", (50,), 3, 40, Hybrid(), 0, 2.0, 0.1)
    inputs = [bits(40, 4, 50, rate=0.1, seed=seed) for seed in (1, 2)]
    label = torch.tensor([0, 1, 2, 0])
    alone = [gradients(fast, spikes, label, Count()) for spikes in inputs]
    fast.zero_grad()
    values = [Count()(fast(spikes).output, Targets(label)) for spikes in inputs]
    for value in values:
        value.backward(retain_graph=True)
    for p, one, two in zip(fast.parameters(), *alone, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, one + two)
    with pytest.raises(RuntimeError, match="backpropagated before"):
        values[0].backward()


class Own(Method):
    """A user's formula with many operations."""

    def membrane_gradient(self, gs, gt, v, s, slope):  # type: ignore[no-untyped-def]
        distance = (v - 1).abs()
        surrogate = torch.where(distance < 0.5, 1 - 2 * distance, 0.0) + 0.1 * torch.sigmoid(-distance).pow(2)
        moved = (gt / slope).clamp(-5, 5).masked_fill(s == 0, 0.0)
        return surrogate.mul(gs).sub_(moved, alpha=0.5)


class NotElementWise(Method):
    def membrane_gradient(self, gs, gt, v, s, slope):  # type: ignore[no-untyped-def]
        return gs * (v.cumsum(0) > -1e9) - gt * s


class FromNothing(Method):
    """Gives a gradient where none comes from above."""

    def membrane_gradient(self, gs, gt, v, s, slope):  # type: ignore[no-untyped-def]
        return gs + 0.01 * v


@pytest.mark.parametrize("method", [Own(), NotElementWise(), FromNothing()])
@pytest.mark.parametrize("layers", ["fc90-fc20-out", "conv3c3-apool2-out"])
def test_methods_of_ones_own(method: Method, layers: str) -> None:
    networks = both(layers, (2, 6, 6), 5, 30, method, 0, 3.0, 0.1)
    spikes = bits(30, 3, 2, 6, 6, rate=0.1)
    hold_together(networks, Latency(), spikes, torch.arange(3))
    assert networks[1].neuron.formula_is_torch == isinstance(method, NotElementWise)


def test_what_a_formula_may_not_do_is_named() -> None:
    for formula, says in (
        (lambda gs, gt, v, s, slope: gs / gs.norm(), "norm"),
        (lambda gs, gt, v, s, slope: gs * torch.rand_like(v), "rand_like"),
        (lambda gs, gt, v, s, slope: gs if bool((v > 1).any()) else gt, "any"),
        (lambda gs, gt, v, s, slope: gs * torch.ones(512), "no compiled form"),
        (lambda gs, gt, v, s, slope: 0.0, "no tensor"),
    ):
        with pytest.raises(CannotCompile, match=says):
            compile_formula(formula)


def test_options_of_any_value_compile() -> None:
    """Where the two terms of hybrid almost cancel, the sum has their rounding: no reason to leave it to torch."""
    generator = torch.Generator().manual_seed(0)
    for scale, sharpness, act, tim in (10 ** (torch.rand(300, 4, generator=generator) * 2 - 1)).tolist():
        compile_formula(Hybrid(act, tim, scale, sharpness).membrane_gradient)
        compile_formula(Activation(scale, sharpness).membrane_gradient)


COMPILES = """
import sys, torch
import numba.core.event as event
compiled = []
class Listener(event.Listener):
    def on_start(self, e): compiled.append(e.data["dispatcher"])
    def on_end(self, e): pass
event.register("numba:compile", Listener())
sys.path.insert(0, {tests!r})
from test_cpu_kernel import *
one = both("fc90-out", (50,), 10, 20, Own(), 0, 2.0, 0.05)[1]
gradient_step(one, Latency(), bits(20, 4, 50, rate=0.1), Targets(torch.arange(4)))
print(len(compiled), compiled[:3])
"""


def test_another_process_compiles_nothing_anew(tmp_path: Path) -> None:
    code = COMPILES.format(tests=str(Path(__file__).parent))
    environment = os.environ | {"SNNRUN_CACHE": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    outputs = []
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout)
    assert not outputs[0].startswith("0 ")
    assert outputs[1].startswith("0 "), outputs[1]


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize(("channels", "maps"), [(1, 1), (2, 12), (3, 17), (12, 64)])
def test_sparse_convolutions_are_torchs(kernel: int, channels: int, maps: int) -> None:
    """Values, both gradients of the input and that of the weights, on real-valued inputs as pooling leaves them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, channels, 5, 8, generator=generator) * bits(6, channels, 5, 8, rate=0.06)
    weight, g = torch.randn(maps, channels, kernel, kernel, generator=generator), torch.randn(6, maps, 5, 8)
    results = []
    for convolve in (cpu.convolve, lambda a, b: F.conv2d(a, b, padding="same")):
        a, b = x.clone().requires_grad_(), weight.clone().requires_grad_()
        y = convolve(a, b)
        y.backward(g)
        assert a.grad is not None
        results.append((y.detach(), a.grad, b.grad, x * a.grad))
    assert "Convolution" in type(cpu.convolve(x, weight.requires_grad_()).grad_fn).__name__
    assert results[0][2].abs().sum() > 0  # type: ignore[union-attr]
    for ours, theirs in zip((*results[0][:3], cpu.transposed_at(x, g, weight.detach())), results[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.02, 1.0])
def test_convolutional_networks_of_every_density(rate: float) -> None:
    networks = both("conv5c3-apool2-conv17c5-apool2-out", (2, 12, 11), 5, 20, Hybrid(), 1, 3.0, 0.02)
    assert hold_together(networks, SpikeTrain(extension=10), bits(20, 3, 2, 12, 11, rate=rate), torch.arange(3))

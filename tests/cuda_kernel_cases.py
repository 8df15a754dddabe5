"""The Triton kernel held to the reference; run by test_cuda_kernel.py, under Triton's interpreter or on a GPU.

Both kernels do the same float32 operations in the same order, so results are equal to the last bit.
"""

import os
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_network import CONSTANTS, bits, build
from torch import Tensor

from snnrun.kernels import NeuronConstants, cuda, reference
from snnrun.losses import Count, Latency, Loss, SpikeTrain, Targets
from snnrun.methods import Activation, Hybrid, Method, Timing
from snnrun.snn.init import shift_and_gain
from snnrun.step import gradient_step

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.npz"))
DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
FORMULAS = [
    Activation().membrane_gradient,
    Timing().membrane_gradient,
    Hybrid(lambda_act=0.3, lambda_tim=0.7).membrane_gradient,
    lambda gs, gt, v, s, slope: torch.where(v > 0.5, gs.tanh() * slope, 0.0) - 0.1 * s * gt.abs(),  # a user's
]


def uniform(*shape: int, seed: int, low: float = -1.0, high: float = 1.0) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * (high - low) + low).to(DEVICE)


def assert_equal(ours: tuple[Tensor | None, ...], theirs: tuple[Tensor | None, ...]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def compare(
    current: Tensor,
    bias: Tensor | None,
    formula: reference.Formula = FORMULAS[2],
    c: NeuronConstants = CONSTANTS,
    with_timing: bool = True,
) -> reference.Forward:
    """Hold both directions to the reference; returns the forward pass."""
    forward = reference.simulate(current, bias, c)
    assert_equal(cuda.simulate(current, bias, c), forward)
    assert_equal((cuda.slope(forward),), (reference.slope(forward),))
    gs, gt = (uniform(*current.shape, seed=seed) for seed in (1, 2))
    ours = cuda.backpropagate(formula, gs, gt, forward, c, with_timing)
    theirs = reference.backpropagate(formula, gs, gt, forward, c, with_timing)
    assert_equal(ours, theirs)
    assert (ours.timing_current is not None) == with_timing
    return forward


@settings(deadline=None, max_examples=30)
@given(
    T=st.integers(1, 12),
    B=st.integers(1, 3),
    neurons=st.integers(1, 100),
    level=st.floats(-2, 4),
    biased=st.booleans(),
    formula=st.sampled_from(FORMULAS),
    alpha=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    with_timing=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
)
@example(1, 1, 1, 1.0, True, FORMULAS[2], (0.9, 0.95), True, 0)
@example(5, 1, cuda.BLOCK, 1.0, True, FORMULAS[2], (0.99, 0.99), True, 0)
@example(5, 2, cuda.BLOCK + 1, 1.0, False, FORMULAS[2], (0.99, 0.99), True, 0)
def test_dense(
    T: int,
    B: int,
    neurons: int,
    level: float,
    biased: bool,
    formula: reference.Formula,
    alpha: tuple[float, float],
    with_timing: bool,
    seed: int,
) -> None:
    current = uniform(T, B, neurons, seed=seed, low=level - 2, high=level + 2)
    bias = uniform(neurons, seed=seed + 1) if biased else None
    compare(current, bias, formula, NeuronConstants(*alpha, 1.1, 0.3, 0.2), with_timing)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 6), st.tuples(*[st.integers(1, 5)] * 4), st.sampled_from(FORMULAS), st.integers(0, 2**31 - 1))
def test_maps_with_a_bias_per_channel(
    T: int, shape: tuple[int, int, int, int], formula: reference.Formula, seed: int
) -> None:
    compare(uniform(T, *shape, seed=seed, high=4.0), uniform(shape[1], 1, 1, seed=seed + 1), formula)


@pytest.mark.parametrize(("level", "rate"), [(20.0, 1.0), (-1.0, 0.0)])
def test_neurons_that_fire_at_every_step_or_never(level: float, rate: float) -> None:
    current = uniform(9, 2, 150, seed=0, low=level, high=level + 0.5)
    forward = compare(current, uniform(150, seed=1))
    assert forward.spikes.mean() == rate


def test_a_potential_at_the_threshold_fires() -> None:
    current = torch.tensor([0.5, 0.25, 1.0], device=DEVICE).view(3, 1, 1)  # V = 0.5, 1, then 1 from reset
    forward = compare(current, None, c=NeuronConstants(1.0, 0.5, 1.0, 1.0, 1.0))
    assert forward.potential.flatten().tolist() == [0.5, 1.0, 1.0]
    assert forward.spikes.flatten().tolist() == [0, 1, 1]


def test_long_run_with_slow_decay() -> None:
    forward = compare(
        uniform(200, 2, 50, seed=3, low=-2.5, high=3.0),
        uniform(50, seed=4),
        c=NeuronConstants(0.99, 0.99, 1.0, 0.027, 0.027),
    )
    assert 0.001 < forward.spikes.mean() < 0.5


def test_memory_layout_does_not_matter() -> None:
    """Autograd hands over expanded gradients, a convolution may hand over channels-last maps."""
    current = uniform(2, 6, 4, 5, 3, seed=0, high=4.0).permute(1, 0, 4, 2, 3)
    forward = reference.simulate(current, None, CONSTANTS)
    assert_equal(cuda.simulate(current, None, CONSTANTS), forward)
    strided = reference.Forward(*(x.transpose(0, 1).contiguous().transpose(0, 1) for x in forward))
    gs, gt = uniform(1, 2, 3, 4, 5, seed=1).expand(current.shape), uniform(1, 1, 1, 1, 1, seed=2).expand(current.shape)
    for formula in (*FORMULAS, lambda gs, gt, v, s, slope: gs):
        ours = cuda.backpropagate(formula, gs, gt, strided, CONSTANTS)
        assert_equal(ours, reference.backpropagate(formula, gs, gt, forward, CONSTANTS))


def test_a_diverged_network_stays_nan() -> None:
    current = uniform(5, 2, 9, seed=0, high=4.0)
    current[2, 0, :4] = float("nan")
    assert compare(current, None).potential.isnan().any()


def test_other_precisions_are_refused() -> None:
    with pytest.raises(TypeError, match=r"float32, not torch\.float64; take the reference kernel"):
        cuda.simulate(torch.zeros(2, 1, 1, dtype=torch.float64), None, CONSTANTS)


def test_a_formula_of_another_shape_is_refused() -> None:
    forward = reference.simulate(uniform(4, 2, 5, seed=0), None, CONSTANTS)
    with pytest.raises(RuntimeError, match="expand"):
        cuda.backpropagate(lambda gs, *_: gs[:-1], forward.spikes, forward.spikes, forward, CONSTANTS)


def step(
    kernel: ModuleType, layers: str, shape: tuple[int, ...], method: Method, loss: Loss
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients and spikes of one step of a small network."""
    network = build(layers, shape, 3, method).to(DEVICE)
    network.neuron.kernel = kernel
    shift_and_gain(network, 2.0, 0.05)
    train = bits(25, 4, 3).to(DEVICE) if isinstance(loss, SpikeTrain) else None
    targets = Targets(torch.tensor([0, 1, 2, 0], device=DEVICE), train)
    _, trace = gradient_step(network, loss, bits(25, 4, *shape).to(DEVICE), targets)
    return [p.grad for p in network.parameters() if p.grad is not None], [layer.spikes.s for layer in trace.layers]


@pytest.mark.parametrize(
    ("layers", "shape"), [("fc40-fc20-out", (30,)), ("conv4c3-apool2-conv5c3-mpool2-fc8-out", (2, 9, 9))]
)
@pytest.mark.parametrize(("method", "loss"), [(Activation(), Count()), (Timing(), Latency()), (Hybrid(), SpikeTrain())])
def test_whole_network(layers: str, shape: tuple[int, ...], method: Method, loss: Loss) -> None:
    gradients, spikes = step(cuda, layers, shape, method, loss)
    expected_gradients, expected_spikes = step(reference, layers, shape, method, loss)
    assert all(s.sum() > 0 for s in spikes)
    assert_equal(tuple(spikes), tuple(expected_spikes))
    assert len(gradients) == len(expected_gradients) > 0
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


class _OnDevice(SimpleNamespace):
    """The kernel for a network on the CPU, such as that of verify.py."""

    @staticmethod
    def simulate(current: Tensor, bias: Tensor | None, c: NeuronConstants) -> reference.Forward:
        moved = None if bias is None else bias.to(DEVICE)
        return reference.Forward(*(x.cpu() for x in cuda.simulate(current.to(DEVICE), moved, c)))

    @staticmethod
    def backpropagate(
        formula: reference.Formula, gs: Tensor, gt: Tensor, forward: reference.Forward, *rest: Any
    ) -> reference.Backward:
        moved = reference.Forward(*(x.to(DEVICE) for x in forward))
        result = cuda.backpropagate(formula, gs.to(DEVICE), gt.to(DEVICE), moved, *rest)
        return reference.Backward(*(None if x is None else x.cpu() for x in result))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_published_program(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.setattr(cuda, "BLOCK", 1024)  # the interpreter takes its time per program
    import verify

    monkeypatch.setattr(verify, "load", lambda name: _OnDevice(prepare=cuda.prepare))
    result = verify.verify(path, "cuda")
    assert result.passes(1e-4), result

"""The neuron's recurrences on hand-computed traces and closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrun.kernels import NeuronConstants, reference, unit_beta

HALF = NeuronConstants(alpha_i=0.5, alpha_v=0.5, beta_i=1.0, beta_v=1.0, beta_bias=1.0)


def trace(current: list[float], c: NeuronConstants = HALF, bias: float | None = None) -> reference.Forward:
    drive = None if bias is None else torch.tensor([bias])
    return reference.simulate(torch.tensor(current)[:, None, None], drive, c)


def backpropagate(g: torch.Tensor, spikes: torch.Tensor, c: NeuronConstants) -> reference.Backward:
    """The recurrences alone, dL/dV given."""
    zero = torch.zeros_like(g)
    return reference.backpropagate(lambda *_: g, zero, zero, reference.Forward(spikes, zero), c)


def test_below_threshold_follows_the_two_exponentials() -> None:
    result = trace([0.5, 0.0, 0.0])
    assert result.potential.flatten().tolist() == [0.5, 0.5, 0.375]  # I: 0.5, 0.25, 0.125
    assert result.spikes.sum() == 0


def test_a_spike_resets_both_states() -> None:
    result = trace([1.0, 0.0, 0.25])
    assert result.spikes.flatten().tolist() == [1.0, 0.0, 0.0]
    assert result.potential.flatten().tolist() == [1.0, 0.0, 0.25]


def test_slope_is_the_rise_since_the_kept_potential_and_clamped() -> None:
    result = trace([0.5, 0.0, 0.0])
    # V - kept V: 0.5 - 0; 0.5 - 0.5 -> clamped; 0.375 - 0.5 -> clamped
    assert reference.slope(result).flatten().tolist() == pytest.approx([0.5, 0.01, 0.01])


def test_after_a_spike_the_slope_counts_from_zero() -> None:
    result = trace([2.0, 0.75])
    assert reference.slope(result).flatten().tolist() == [2.0, 0.75]


def test_bias_drives_the_potential_every_step() -> None:
    result = trace([0.0, 0.0], bias=0.25)
    assert result.potential.flatten().tolist() == [0.25, 0.375]


@pytest.mark.parametrize(
    ("alpha_i", "alpha_v", "T"), [(0.99, 0.99, 300), (0.99, 0.99, 40), (0.9, 0.95, 60), (0.0, 0.5, 5)]
)
def test_unit_beta_lifts_one_spike_to_the_threshold(alpha_i: float, alpha_v: float, T: int) -> None:
    eps = [sum(alpha_i**j * alpha_v ** (k - j) for j in range(k + 1)) for k in range(T)]
    assert unit_beta(alpha_i, alpha_v, T) == pytest.approx(1 / max(eps), rel=1e-9)


def test_unit_beta_of_the_published_program() -> None:
    assert unit_beta(0.9, 0.95, 60) == pytest.approx(0.19293442368507385, rel=1e-6)
    assert unit_beta(0.99, 0.99, 100) == pytest.approx(0.02704676426947117, rel=1e-6)


def test_moving_an_input_spike_moves_its_response() -> None:
    """Without output spikes, e2[t] = sum_k g[t+k] * -(eps[k+1] - eps[k-1]) / 2, eps scaled by beta_v."""
    T, c = 12, NeuronConstants(0.8, 0.9, 1.0, 0.7, 1.0)
    eps = [0.0] + [c.beta_v * sum(c.alpha_i**j * c.alpha_v ** (k - j) for j in range(k + 1)) for k in range(T + 1)]
    g = torch.randn(T, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = backpropagate(g, torch.zeros_like(g), c)
    assert result.timing_current is not None
    for t in range(T):  # eps[k] is stored at k + 1, so that eps[-1] = 0 is there too
        expected = sum(g[t + k].item() * -(eps[k + 2] - eps[k]) / 2 for k in range(T - t))
        assert result.timing_current[t].item() == pytest.approx(expected, rel=1e-9)


def test_the_reset_cuts_the_gradient() -> None:
    g = torch.tensor([0.0, 0.0, 1.0])[:, None, None]
    spikes = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    result = backpropagate(g, spikes, HALF)
    assert result.current.flatten().tolist() == [0.0, 0.0, 1.0]
    assert result.bias.flatten().tolist() == [1.0]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 2**31 - 1))
def test_without_resets_backward_is_the_exact_gradient(T: int, neurons: int, seed: int) -> None:
    """With potentials far below threshold the network is linear, and autograd through the loop is the truth."""
    generator = torch.Generator().manual_seed(seed)
    c = NeuronConstants(0.9, 0.8, 1.5, 0.1, 0.2)
    current = (torch.rand(T, 2, neurons, generator=generator, dtype=torch.float64) * 0.1 - 0.2).requires_grad_()
    bias = torch.full((neurons,), -0.1, dtype=torch.float64, requires_grad=True)
    i = v = torch.zeros(2, neurons, dtype=torch.float64)
    potentials = []
    for t in range(T):
        i = c.alpha_i * i + c.beta_i * current[t]
        v = c.alpha_v * v + c.beta_v * i + c.beta_bias * bias
        potentials.append(v)
    g = torch.randn(T, 2, neurons, generator=generator, dtype=torch.float64)
    expected = torch.autograd.grad((torch.stack(potentials) * g).sum(), [current, bias])
    result = backpropagate(g, torch.zeros_like(g), c)
    np.testing.assert_allclose(result.current, expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.bias.sum(0), expected[1], rtol=1e-9, atol=1e-12)

"""Losses against their formulas written as loops, and against finite differences where they are smooth."""

import math

import pytest
import torch
from torch import Tensor

from snnrun.losses import Count, Latency, Loss, SpikeTrain, Targets
from snnrun.snn import Spikes

T, B, N = 12, 3, 4


def random_output(seed: int = 0, rate: float = 0.25) -> Spikes:
    s = (torch.rand(T, B, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) < rate).double()
    return Spikes(s.requires_grad_(), torch.zeros_like(s).requires_grad_())


def gradients(loss: Loss, output: Spikes, targets: Targets) -> tuple[float, Tensor, Tensor]:
    value = loss(output, targets)
    assert output.t is not None
    gs, gt = torch.autograd.grad(value, [output.s, output.t], allow_unused=True)
    zero = torch.zeros_like(output.s)
    return value.item(), gs if gs is not None else zero, gt if gt is not None else zero


LABEL = torch.tensor([2, 0, 3])


def test_count_loss_and_gradient() -> None:
    output = random_output()
    value, gs, gt = gradients(Count(true_count=3, false_count=1), output, Targets(LABEL))
    count = output.s.detach().sum(0)
    target = torch.ones(B, N, dtype=torch.float64)
    target[torch.arange(B), LABEL] = 3
    assert value == pytest.approx(((count - target) ** 2).sum().item() / (T * B))
    torch.testing.assert_close(gs, (2 * (count - target) / (T * B)).expand(T, B, N))
    assert gt.abs().sum() == 0


def test_latency_loss_and_gradient() -> None:
    output = random_output(seed=3, rate=0.15)
    loss = Latency()
    value, gs, gt = gradients(loss, output, Targets(LABEL))
    t1 = torch.full((B, N), float(T), dtype=torch.float64)
    for b in range(B):
        for n in range(N):
            fired = output.s[:, b, n].nonzero()
            if len(fired):
                t1[b, n] = fired[0].item()
    p = torch.softmax(loss.beta * (T - t1), 1)
    expected = -p[torch.arange(B), LABEL].log().mean().item()
    silent = t1[torch.arange(B), LABEL] == T
    assert value == pytest.approx(expected + 0.1 / B * silent.sum().item())
    for b in range(B):
        for n in range(N):
            dz = (p[b, n].item() - float(n == LABEL[b])) / B
            expected_t = torch.zeros(T, dtype=torch.float64)
            if t1[b, n] < T:
                expected_t[int(t1[b, n])] = -loss.beta * dz
            torch.testing.assert_close(gt[:, b, n], expected_t)
            wake = -0.1 / B if n == LABEL[b] and silent[b] else 0.0
            assert gs[:, b, n].tolist() == pytest.approx([wake] * T)


def test_latency_loss_wakes_a_silent_label_neuron() -> None:
    s = torch.zeros(T, 2, N, dtype=torch.float64)
    s[4, 0, 1] = 1
    output = Spikes(s.requires_grad_(), torch.zeros_like(s).requires_grad_())
    _, gs, _ = gradients(Latency(), output, Targets(torch.tensor([1, 2])))
    assert gs[:, 0].abs().sum() == 0
    assert gs[:, 1, 2].tolist() == pytest.approx([-0.05] * T)


def test_latency_term_is_where_the_last_output_fires() -> None:
    s = torch.zeros(T, 2, 2)
    s[3] = 1
    s[3, 1, 1], s[7, 1, 1] = 0, 1
    assert Latency().term(s) == 8
    s[7, 1, 1] = 0
    assert Latency().term(s) == T
    s[7, 1, 1] = 1
    assert Latency(rate_weight=1e-6).term(s) == T


def test_spike_train_loss_and_gradients() -> None:
    output = random_output(seed=5)
    target = random_output(seed=6).s.detach()
    loss = SpikeTrain(alpha=0.7, extension=200)
    value, gs, gt = gradients(loss, output, Targets(train=target))

    def k(j: int) -> float:
        return 0.7**j if 0 <= j < T and 0.7**j >= 1e-6 else 0.0

    steps = T + 200
    difference = (output.s - target).detach()
    D = torch.zeros(steps, B, N, dtype=torch.float64)
    for t in range(steps):
        for u in range(min(t + 1, T)):
            D[t] += k(t - u) * difference[u]
    assert value == pytest.approx((D**2).sum().item() / (T * B))
    for t in range(T):
        expected_s = sum(k(j) * D[t + j] for j in range(steps - t)) * 2 / (T * B)
        torch.testing.assert_close(gs[t], expected_s)
        moved = sum((k(j + 1) - k(j - 1)) / 2 * D[t + j] for j in range(-1, T + 1) if t + j >= 0)
        torch.testing.assert_close(gt[t], -2 / (T * B) * output.s.detach()[t] * moved)


def test_spike_train_target_of_a_label() -> None:
    s = torch.zeros(35, 2, 3)
    target = SpikeTrain(period=10).target_train(s, torch.tensor([1, 2]))
    assert target[:, 0, 1].nonzero().flatten().tolist() == [9, 19, 29]
    assert target[:, 1, 2].nonzero().flatten().tolist() == [9, 19, 29]
    assert target.sum() == 6


@pytest.mark.parametrize("loss", [Count(), SpikeTrain(alpha=0.8)], ids=["count", "spike_train"])
def test_smooth_in_spikes_by_finite_differences(loss: Loss) -> None:
    s = torch.rand(T, B, N, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(Spikes(x, None), Targets(LABEL)), (s,))


def test_latency_is_smooth_in_spike_times_by_finite_differences() -> None:
    output = random_output(seed=9)
    assert output.t is not None
    assert torch.autograd.gradcheck(lambda t: Latency()(Spikes(output.s.detach(), t), Targets(LABEL)), (output.t,))


def test_rate_penalty_value_and_gradient() -> None:
    hidden = [random_output(seed=1), random_output(seed=2)]
    penalty = Count(rate_weight=0.3).rate_penalty([layer.s.sum() for layer in hidden], B)
    assert isinstance(penalty, Tensor)
    total = sum(layer.s.sum().item() for layer in hidden)
    assert penalty.item() == pytest.approx(0.3 / B * total)
    (gradient,) = torch.autograd.grad(penalty, [hidden[0].s])
    assert gradient.unique().tolist() == pytest.approx([0.3 / B])
    assert Count().rate_penalty([layer.s.sum() for layer in hidden], B) == 0


def test_one_step_and_no_spikes_at_all() -> None:
    s = torch.zeros(1, 2, 3, requires_grad=True)
    for loss in (Count(), Latency(), SpikeTrain()):
        assert math.isfinite(loss(Spikes(s, torch.zeros(1, 2, 3)), Targets(torch.tensor([0, 1]))).item())

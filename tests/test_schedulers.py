"""Schedules: the learning rates that they give, and that a run goes on within one."""

import io

import pytest
import torch
from torch import nn, optim

from snnrun.optim import OneCycle


def rates(steps: int, schedule: OneCycle, stop: int | None = None) -> list[float]:
    """Learning rate of every step; at ``stop`` everything goes through a checkpoint into new objects."""
    optimizer = optim.Adam([nn.Parameter(torch.zeros(1))], lr=2e-3, fused=True)
    scheduler = schedule.build(optimizer, epochs=steps // 10, steps_per_epoch=10)
    found = []
    for step in range(steps):
        if step == stop:
            file = io.BytesIO()
            torch.save((optimizer.state_dict(), scheduler.state_dict()), file)
            file.seek(0)
            states = torch.load(file, weights_only=True)
            optimizer = optim.Adam([nn.Parameter(torch.zeros(1))], lr=2e-3, fused=True)
            scheduler = schedule.build(optimizer, epochs=steps // 10, steps_per_epoch=10)
            optimizer.load_state_dict(states[0])
            scheduler.load_state_dict(states[1])
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    return found


def test_one_cycle_goes_up_and_down() -> None:
    found = rates(100, OneCycle())
    top = found.index(max(found))
    assert top == 29  # three tenths of the steps
    assert found[top] == pytest.approx(2e-3)
    assert found[0] == pytest.approx(2e-3 * 0.04)
    assert found[-1] == pytest.approx(2e-3 * 4e-6)
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


def test_one_cycle_takes_its_options() -> None:
    found = rates(100, OneCycle(warmup=0.5, start=0.1, final=0.01))
    assert found.index(max(found)) == 49
    assert found[0] == pytest.approx(2e-4)
    assert found[-1] == pytest.approx(2e-5)


def test_one_cycle_goes_on_from_a_checkpoint() -> None:
    assert rates(40, OneCycle(), stop=17) == rates(40, OneCycle())

"""Decay and scale constants of the neuron."""

from __future__ import annotations

from dataclasses import dataclass

MIN_SLOPE = 0.01  # slope of V at a spike is clamped from below: a timing gradient divides by it


@dataclass(frozen=True)
class NeuronConstants:
    """Constants of the current-based leaky integrate-and-fire neuron, per step.

    Attributes:
        alpha_i, alpha_v: decay of synaptic current and membrane potential.
        beta_i, beta_v, beta_bias: scales of synaptic input, of the current in V, of the bias in V.
    """

    alpha_i: float
    alpha_v: float
    beta_i: float
    beta_v: float
    beta_bias: float


def unit_beta(alpha_i: float, alpha_v: float, T: int) -> float:
    """The scale at which one input spike of weight 1 lifts V to 1 within T steps: 1 / max_{k<T} eps[k].

    eps[k] = sum_{j=0..k} aI^j aV^(k-j) is the response of V to one input spike. It depends on T while T is shorter
    than the time of its peak.
    """
    current, potential, peak = 1.0, 0.0, 0.0
    for _ in range(T):
        potential = alpha_v * potential + current
        current *= alpha_i
        if potential < peak:
            break
        peak = potential
    return 1.0 / peak

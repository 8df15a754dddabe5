"""The recurrences of the neuron in plain PyTorch: slow, obviously right, and the specification of every other kernel.

Neuron: current-based leaky integrate-and-fire, both states reset by a spike (Kim, Kim & Kim, NeurIPS 2020). Arrays are
[T, B, ...]; ``current`` is the synaptic input before the scale beta_i, i.e. W x[t].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from snnrun.kernels.constants import MIN_SLOPE, NeuronConstants


class Forward(NamedTuple):
    """Result of :func:`simulate`, each [T, B, ...]."""

    spikes: Tensor
    potential: Tensor
    slope: Tensor


class Backward(NamedTuple):
    """Result of :func:`backpropagate`: gradients with respect to the two input currents and the bias drive."""

    current: Tensor
    timing_current: Tensor
    bias: Tensor


def simulate(current: Tensor, bias: Tensor | None, c: NeuronConstants) -> Forward:
    """Run the neuron over all steps.

        I[t] = aI (1 - S[t-1]) I[t-1] + bI current[t]
        V[t] = aV (1 - S[t-1]) V[t-1] + bV I[t] + bB bias
        S[t] = V[t] >= 1
        slope[t] = max(V[t] - (1 - S[t-1]) V[t-1], 0.01)

    Args:
        current: synaptic input W x[t], [T, B, ...].
        bias: broadcast against one step, [...], or None.
        c: decay and scale constants.
    """
    i = torch.zeros_like(current[0])
    v_kept = torch.zeros_like(i)  # (1 - S[t-1]) V[t-1]
    drive = 0.0 if bias is None else c.beta_bias * bias
    spikes, potential, slope = (torch.empty_like(current) for _ in range(3))
    for t in range(current.shape[0]):
        i = c.alpha_i * i + c.beta_i * current[t]
        v = c.alpha_v * v_kept + c.beta_v * i + drive
        s = (v >= 1).to(v.dtype)
        spikes[t] = s
        potential[t] = v
        slope[t] = (v - v_kept).clamp(min=MIN_SLOPE)
        i = i * (1 - s)
        v_kept = v * (1 - s)
    return Forward(spikes, potential, slope)


def backpropagate(g: Tensor, spikes: Tensor, c: NeuronConstants, with_timing: bool = True) -> Backward:
    """Run the reverse recurrences once; resets (1 - S) are constants, no gradient flows through them.

        dep[t] = g[t] + aV (1 - S[t]) dep[t+1]
        gI[t]  = bV dep[t] + aI (1 - S[t]) gI[t+1]
        e1[t]  = (1 - S[t]) (h[t+1] + aV e1[t+1]) - aV h[t]                      h = g / 2
        e2[t]  = (1 - S[t]) aI e2[t+1] + bV e1[t] - bV aI h[t]

    Args:
        g: dL/dV as the method decided it, [T, B, ...].
        spikes: S of the forward pass.
        with_timing: leave e1, e2 out (and return zeros for them) where no layer below has spike times to move.

    Returns:
        bI gI (gradient of the current), bI e2 (gradient of the timing current) and bB dep (gradient of the bias at
        every step and sample).
    """
    dep, gi, e1, e2, h_next = (torch.zeros_like(g[0]) for _ in range(5))
    out_gi, out_dep = torch.empty_like(g), torch.empty_like(g)
    out_e2 = torch.empty_like(g) if with_timing else torch.zeros_like(g)
    for t in reversed(range(g.shape[0])):
        kept = 1 - spikes[t]
        dep = g[t] + c.alpha_v * kept * dep
        gi = c.beta_v * dep + c.alpha_i * kept * gi
        out_dep[t] = dep
        out_gi[t] = gi
        if with_timing:
            h = g[t] / 2
            e1 = kept * (h_next + c.alpha_v * e1) - c.alpha_v * h
            e2 = c.alpha_i * kept * e2 + c.beta_v * e1 - c.beta_v * c.alpha_i * h
            out_e2[t] = e2
            h_next = h
    return Backward(c.beta_i * out_gi, c.beta_i * out_e2, c.beta_bias * out_dep)

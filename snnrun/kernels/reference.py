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
    i = v_kept = torch.zeros_like(current[0])  # I[t] and V[t] where no spike reset them
    drive = 0.0 if bias is None else c.beta_bias * bias
    all_s, all_v, all_v_kept = [], [], []
    for x in (c.beta_i * current).unbind(0):
        i = c.alpha_i * i + x
        v = c.alpha_v * v_kept + c.beta_v * i + drive
        all_v_kept.append(v_kept)
        s = (v >= 1).to(v.dtype)
        kept = 1 - s
        i, v_kept = kept * i, kept * v
        all_s.append(s)
        all_v.append(v)
    potential = torch.stack(all_v)
    slope = (potential - torch.stack(all_v_kept)).clamp(min=MIN_SLOPE)
    return Forward(torch.stack(all_s), potential, slope)


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
    dep = gi = e1 = e2 = h_next = torch.zeros_like(g[0])
    all_dep, all_gi, all_e2 = [], [], []
    for g_t, kept in zip(reversed(g.unbind(0)), reversed((1 - spikes).unbind(0)), strict=True):
        dep = g_t + c.alpha_v * kept * dep
        gi = c.beta_v * dep + c.alpha_i * kept * gi
        all_dep.append(dep)
        all_gi.append(gi)
        if with_timing:
            h = g_t / 2
            e1 = kept * (h_next + c.alpha_v * e1) - c.alpha_v * h
            e2 = c.alpha_i * kept * e2 + c.beta_v * e1 - c.beta_v * c.alpha_i * h
            all_e2.append(e2)
            h_next = h
    forward_in_time = [
        torch.stack(steps[::-1]) if steps else torch.zeros_like(g) for steps in (all_gi, all_e2, all_dep)
    ]
    current, timing_current, per_step_bias = forward_in_time
    return Backward(c.beta_i * current, c.beta_i * timing_current, c.beta_bias * per_step_bias)

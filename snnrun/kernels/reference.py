"""The recurrences of the neuron in plain PyTorch: slow, obviously right, and the specification of every other kernel.

Neuron: current-based leaky integrate-and-fire, both states reset by a spike (Kim, Kim & Kim, NeurIPS 2020). Arrays are
[T, B, ...]; ``current`` is the synaptic input before the scale beta_i, i.e. W x[t].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from snnrun.kernels.constants import MIN_SLOPE, NeuronConstants

# A method's element-wise dL/dV of (gs, gt, v, s, slope), see snnrun.methods.Method.membrane_gradient.
Formula = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class Forward(NamedTuple):
    """Result of :func:`simulate`, each [T, B, ...]."""

    spikes: Tensor
    potential: Tensor


class Backward(NamedTuple):
    """Result of :func:`backpropagate`: gradients with respect to the two input currents and the bias drive.

    ``current`` and ``timing_current`` are [T, B, ...] (the latter None where nobody asked), ``bias`` is summed over
    time, [B, ...].
    """

    current: Tensor
    timing_current: Tensor | None
    bias: Tensor


def prepare(formula: Formula) -> Formula:
    """What :func:`backpropagate` takes as a method's formula: the formula itself."""
    return formula


def simulate(current: Tensor, bias: Tensor | None, c: NeuronConstants) -> Forward:
    """Run the neuron over all steps.

        I[t] = aI (1 - S[t-1]) I[t-1] + bI current[t]
        V[t] = aV (1 - S[t-1]) V[t-1] + bV I[t] + bB bias
        S[t] = V[t] >= 1

    Args:
        current: synaptic input W x[t], [T, B, ...].
        bias: broadcast against one step, [...], or None.
        c: decay and scale constants.
    """
    i = v = torch.zeros_like(current[0])
    drive = 0.0 if bias is None else c.beta_bias * bias
    all_s, all_v = [], []
    for x in (c.beta_i * current).unbind(0):
        i = c.alpha_i * i + x
        v = c.alpha_v * v + c.beta_v * i + drive
        all_v.append(v)
        s = (v >= 1).to(v.dtype)
        all_s.append(s)
        i, v = (1 - s) * i, (1 - s) * v
    return Forward(torch.stack(all_s), torch.stack(all_v))


def slope(forward: Forward) -> Tensor:
    """dV/dt of every step, clamped: max(V[t] - (1 - S[t-1]) V[t-1], 0.01), [T, B, ...]."""
    kept = (1 - forward.spikes[:-1]) * forward.potential[:-1]
    before = torch.cat([torch.zeros_like(forward.potential[:1]), kept])
    return (forward.potential - before).clamp(min=MIN_SLOPE)


def backpropagate(
    formula: Formula, gs: Tensor, gt: Tensor, forward: Forward, c: NeuronConstants, with_timing: bool = True
) -> Backward:
    """Run the reverse recurrences once; resets (1 - S) are constants, no gradient flows through them.

        g[t]   = formula(gS, gT, V, S, slope)[t]                                 dL/dV, what the method makes of it
        dep[t] = g[t] + aV (1 - S[t]) dep[t+1]
        gI[t]  = bV dep[t] + aI (1 - S[t]) gI[t+1]
        e1[t]  = (1 - S[t]) (h[t+1] + aV e1[t+1]) - aV h[t]                      h = g / 2
        e2[t]  = (1 - S[t]) aI e2[t+1] + bV e1[t] - bV aI h[t]

    Args:
        formula: the method's.
        gs, gt: dL/dS and dL/d(spike time) of this layer's spikes, [T, B, ...].
        forward: result of the forward pass.
        with_timing: leave e1, e2 out where no layer below has spike times to move.

    Returns:
        bI gI (gradient of the current), bI e2 (gradient of the timing current) and bB sum_t dep (gradient of the bias).
    """
    g = formula(gs, gt, forward.potential, forward.spikes, slope(forward))
    dep = gi = e1 = e2 = h_next = bias = torch.zeros_like(g[0])
    all_gi, all_e2 = [], []
    for g_t, kept in zip(reversed(g.unbind(0)), reversed((1 - forward.spikes).unbind(0)), strict=True):
        dep = g_t + c.alpha_v * kept * dep
        gi = c.beta_v * dep + c.alpha_i * kept * gi
        bias = bias + dep
        all_gi.append(gi)
        if with_timing:
            h = g_t / 2
            e1 = kept * (h_next + c.alpha_v * e1) - c.alpha_v * h
            e2 = c.alpha_i * kept * e2 + c.beta_v * e1 - c.beta_v * c.alpha_i * h
            all_e2.append(e2)
            h_next = h
    timing_current = c.beta_i * torch.stack(all_e2[::-1]) if with_timing else None
    return Backward(c.beta_i * torch.stack(all_gi[::-1]), timing_current, c.beta_bias * bias)

"""Compiled loops over spikes that no weight takes part in: gradients of the outputs, counts, dense frames.

Layouts as in :mod:`snnrun.kernels.cpu.forward_loops`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnrun.kernels.cpu.vector import claim, compiled, f32


@compiled
def inject(counter: Any, gs: Any, gt: Any, from_end: Any, gs_out: Any, gt_out: Any, lasts: Any) -> None:
    """Gradients of the output spikes [T, B, N] to the layout of :func:`backward` [B, T, K, W], idle lanes 0, and each
    sample's last step with a gradient."""
    T, B, N = gs.shape
    K, W = gs_out.shape[2:]
    while True:
        b = claim(counter)
        if b >= B:
            break
        last = np.int64(T)
        while last > 0 and not from_end:
            silent = True
            for n in range(N):
                silent &= gs[last - 1, b, n] == f32(0) and gt[last - 1, b, n] == f32(0)
            if not silent:
                break
            last -= 1
        lasts[b] = last
        for t in range(last):
            for n in range(N):
                gs_out[b, t, n // W, n % W] = gs[t, b, n]
                gt_out[b, t, n // W, n % W] = gt[t, b, n]
            for lane in range(N, K * W):
                gs_out[b, t, K - 1, lane % W] = f32(0)
                gt_out[b, t, K - 1, lane % W] = f32(0)


@compiled
def last_needed(offsets: Any, address: Any, neurons: Any, steps: Any) -> Any:
    """The steps by which every neuron of every sample has fired; steps + 1 if one is silent."""
    needed = np.int64(0)
    for b in range(offsets.shape[0]):
        fired = np.zeros(neurons, np.bool_)
        silent = neurons
        for t in range(steps):
            for event in range(offsets[b, t], offsets[b, t + 1]):
                if not fired[address[event]]:
                    fired[address[event]] = True
                    silent -= 1
            if silent == 0:
                needed = max(needed, np.int64(t + 1))
                break
        if silent > 0:
            return steps + 1
    return needed


@compiled
def count(counter: Any, offsets: Any, address: Any, term: Any, out: Any) -> None:
    """Add the events of each address before step ``term`` to ``out`` [B, N]."""
    B = out.shape[0]
    while True:
        b = claim(counter)
        if b >= B:
            break
        for event in range(offsets[b, 0], offsets[b, term]):
            out[b, address[event]] += f32(1)


@compiled
def densify(counter: Any, offsets: Any, address: Any, out: Any) -> None:
    """Events to spikes 0 or 1, [T, B, N]; ``out`` is zero before."""
    T, B, _ = out.shape
    while True:
        b = claim(counter)
        if b >= B:
            break
        for t in range(T):
            for event in range(offsets[b, t], offsets[b, t + 1]):
                out[t, b, address[event]] = f32(1)

"""The recurrences of the neuron as Triton kernels for NVIDIA GPUs; same signatures and results as the reference.

One program runs all steps of a block of neurons, with their states in registers: each array is read or written once,
and one launch replaces several per step. Arrays are [T, B, ...] in float32; a step's [B, ...] is one flat axis.
Imports Triton, which comes with PyTorch's CUDA builds only.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from snnrun.kernels.constants import MIN_SLOPE, NeuronConstants
from snnrun.kernels.reference import Backward, Formula, Forward

BLOCK = 128  # neurons of one program, one a thread
# Fused multiply-adds round once less than the reference does, and could move a spike that ties with the threshold.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}
AHEAD = tl.constexpr(4)  # steps whose loads are under way at once; they depend on no state, so none has to wait for one


@triton.jit(do_not_specialize=["steps"])
def _simulate(
    current, drive, spikes, potential, steps, n,
    alpha_i, alpha_v, beta_i, beta_v,
    BIASED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    offset = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offset < n
    i = tl.zeros([BLOCK], tl.float32)
    v = tl.zeros([BLOCK], tl.float32)
    if BIASED:
        bias = tl.load(drive + offset, inside, 0.0)
    at = tl.cast(offset, tl.int64)  # T B N may pass 2^31
    for _ in tl.range(0, steps, num_stages=AHEAD):
        i = alpha_i * i + beta_i * tl.load(current + at, inside, 0.0)
        v = alpha_v * v + beta_v * i
        if BIASED:
            v += bias
        s = (v >= 1.0).to(tl.float32)
        tl.store(potential + at, v, inside)
        tl.store(spikes + at, s, inside)
        i = (1.0 - s) * i
        v = (1.0 - s) * v
        at += n


@triton.jit(do_not_specialize=["steps"])
def _slope(spikes, potential, slope, steps, n, min_slope, BLOCK: tl.constexpr):
    offset = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offset < n
    kept = tl.zeros([BLOCK], tl.float32)
    at = tl.cast(offset, tl.int64)
    for _ in tl.range(0, steps, num_stages=AHEAD):
        v = tl.load(potential + at, inside, 0.0)
        rise = v - kept
        tl.store(slope + at, tl.where(rise < min_slope, min_slope, rise), inside)  # maximum() would hide a NaN
        kept = (1.0 - tl.load(spikes + at, inside, 0.0)) * v
        at += n


@triton.jit(do_not_specialize=["steps"])
def _backpropagate(
    g, spikes, current, timing_current, bias, steps, n,
    alpha_i, alpha_v, beta_i, beta_v, beta_v_alpha_i, beta_bias,
    TIMING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    offset = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offset < n
    dep = tl.zeros([BLOCK], tl.float32)
    gi = tl.zeros([BLOCK], tl.float32)
    e1 = tl.zeros([BLOCK], tl.float32)
    e2 = tl.zeros([BLOCK], tl.float32)
    h_next = tl.zeros([BLOCK], tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    at = offset + tl.cast(steps - 1, tl.int64) * n
    for _ in tl.range(0, steps, num_stages=AHEAD):
        g_t = tl.load(g + at, inside, 0.0)
        kept = 1.0 - tl.load(spikes + at, inside, 0.0)
        dep = g_t + alpha_v * kept * dep
        gi = beta_v * dep + alpha_i * kept * gi
        total += dep
        tl.store(current + at, beta_i * gi, inside)
        if TIMING:
            h = g_t * 0.5
            e1 = kept * (h_next + alpha_v * e1) - alpha_v * h
            e2 = alpha_i * kept * e2 + beta_v * e1 - beta_v_alpha_i * h
            tl.store(timing_current + at, beta_i * e2, inside)
            h_next = h
        at -= n
    tl.store(bias + offset, beta_bias * total, inside)


def prepare(formula: Formula) -> Formula:
    """What :func:`backpropagate` takes as a method's formula: the formula itself."""
    return formula


def simulate(current: Tensor, bias: Tensor | None, c: NeuronConstants) -> Forward:
    """Run the neuron over all steps; equations in :func:`snnrun.kernels.reference.simulate`.

    Args:
        current: synaptic input W x[t], [T, B, ...].
        bias: broadcast against one step, [...], or None.
        c: decay and scale constants.

    Raises:
        TypeError: current is not float32.
    """
    current = _float32(current)
    spikes, potential = torch.empty_like(current), torch.empty_like(current)
    # One step's worth of bias, however it broadcasts; any array stands in for it where it is not read.
    drive = current if bias is None else _float32((c.beta_bias * bias).expand(current.shape[1:]))
    _launch(
        _simulate, current, drive, spikes, potential,
        constants=(c.alpha_i, c.alpha_v, c.beta_i, c.beta_v), BIASED=bias is not None,
    )  # fmt: skip
    return Forward(spikes, potential)


def slope(forward: Forward) -> Tensor:
    """dV/dt of every step, clamped: max(V[t] - (1 - S[t-1]) V[t-1], 0.01), [T, B, ...]."""
    spikes, potential = map(_float32, forward)
    result = torch.empty_like(potential)
    _launch(_slope, spikes, potential, result, constants=(MIN_SLOPE,))
    return result


def backpropagate(
    formula: Formula, gs: Tensor, gt: Tensor, forward: Forward, c: NeuronConstants, with_timing: bool = True
) -> Backward:
    """Run the reverse recurrences once; equations in :func:`snnrun.kernels.reference.backpropagate`.

    Args:
        formula: the method's, ordinary PyTorch; it is evaluated over whole arrays before the recurrences.
        gs, gt: dL/dS and dL/d(spike time) of this layer's spikes, [T, B, ...].
        forward: result of the forward pass.
        with_timing: leave e1, e2 out where no layer below has spike times to move.

    Raises:
        TypeError: an array is not float32.
    """
    forward = Forward(*map(_float32, forward))
    # expand_as refuses a result of another shape, which the kernel would read past its end
    g = _float32(formula(gs, gt, forward.potential, forward.spikes, slope(forward)).expand_as(forward.spikes))
    current, bias = torch.empty_like(g), torch.empty_like(g[0])
    timing_current = torch.empty_like(g) if with_timing else None
    _launch(
        _backpropagate, g, forward.spikes, current, current if timing_current is None else timing_current, bias,
        constants=(c.alpha_i, c.alpha_v, c.beta_i, c.beta_v, c.beta_v * c.alpha_i, c.beta_bias), TIMING=with_timing,
    )  # fmt: skip
    return Backward(current, timing_current, bias)


def _float32(x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        raise TypeError(f"the cuda kernel computes in float32, not {x.dtype}; take the reference kernel")
    return x.contiguous()


def _launch(kernel: Any, first: Tensor, *arrays: Tensor, constants: tuple[float, ...], **flags: bool) -> None:
    n = first[0].numel()
    with torch.cuda.device_of(first):  # Triton launches on the current device, not on the arrays'
        grid = (triton.cdiv(n, BLOCK),)
        kernel[grid](first, *arrays, first.shape[0], n, *constants, **flags, BLOCK=BLOCK, **OPTIONS)

"""Convolutions that follow the spikes: sparse maps are convolved event by event, dense ones by torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnrun.kernels.cpu import patches
from snnrun.kernels.cpu.buffers import empty_tensor
from snnrun.kernels.cpu.threads import run

_SPARSE = 0.1  # share of non-zero inputs up to which events are faster than a dense convolution
_GROUPS = 16  # of frames with a sum of weight gradients each; a number of its own, not that of threads


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """x [frames, C, H, W], weight [maps, C, k, k] -> [frames, maps, H, W]; stride 1, the maps keep their size."""
    if _is_sparse(x):
        result: Tensor = _Convolution.apply(x, weight)  # type: ignore[no-untyped-call]
        return result
    return F.conv2d(x, weight, padding="same")


def transposed_at(x: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """x * (W^T gradient), shaped as x: what the timing channel hands down; needed only where x is not zero."""
    if not _is_sparse(x):
        return x * transposed(gradient, weight)
    out = empty_tensor(x.shape)
    block, packed = _packed(weight)
    run(
        patches.transposed_at,
        x.contiguous().numpy(),
        gradient.flatten(2).contiguous().numpy(),
        packed,
        weight.shape[-1],
        out.numpy(),
        before=(block,),
        tasks=len(x),
        work=x.numel() * 4.0,
    )
    return out


def transposed(gradient: Tensor, weight: Tensor) -> Tensor:
    """W^T gradient: the gradient of the input."""
    before = (weight.shape[-1] - 1) // 2  # an even kernel pads one more behind
    height, width = gradient.shape[-2:]
    return F.conv_transpose2d(gradient, weight, padding=before)[..., :height, :width]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        out = empty_tensor((len(x), len(weight), *x.shape[2:]))
        block, packed = _packed(weight)
        run(
            patches.convolve,
            x.contiguous().numpy(),
            packed,
            weight.shape[-1],
            out.flatten(2).numpy(),
            before=(block,),
            tasks=len(x),
            work=out.numel() * 4.0,
        )
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        below = transposed(gradient, weight) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return below, None
        block, packed = _packed(weight)
        sums = np.zeros((min(_GROUPS, len(x)), *packed.shape), np.float32)
        run(
            patches.weight_gradient,
            x.contiguous().numpy(),
            gradient.flatten(2).contiguous().numpy(),
            weight.shape[-1],
            sums,
            before=(block,),
            tasks=len(sums),
            work=gradient.numel() * 4.0,
        )
        maps, channels, kernel, _ = weight.shape
        total = torch.from_numpy(sums.sum(0)[:, :maps])
        return below, total.view(channels, kernel, kernel, maps).permute(3, 0, 1, 2).contiguous()


def _is_sparse(x: Tensor) -> bool:
    return int(x.count_nonzero()) <= _SPARSE * x.numel()


def _packed(weight: Tensor) -> tuple[tuple[int, ...], np.ndarray]:
    """The block of lanes, and weights [maps, C, k, k] as [C * k * k, lanes]."""
    maps = len(weight)
    lanes = -(-maps // 16)
    packed = torch.zeros(weight[0].numel(), 16 * lanes)
    packed[:, :maps] = weight.detach().flatten(1).t()
    return (0,) * lanes, packed.numpy()

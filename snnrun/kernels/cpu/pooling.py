"""Average pooling by compiled loops: torch's are single-threaded over maps this small, and took a third of a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnrun.kernels.cpu.buffers import empty_tensor
from snnrun.kernels.cpu.threads import run
from snnrun.kernels.cpu.vector import claim, compiled, f32

_PER_TASK = 64  # maps


def average_pool(x: Tensor, size: int) -> Tensor:
    """Means over windows of ``size`` x ``size``, [frames, C, H, W] -> [frames, C, H // size, W // size]."""
    result: Tensor = _AveragePool.apply(x, size)  # type: ignore[no-untyped-call]
    return result


def spread(gradient: Tensor, size: int, shape: torch.Size) -> Tensor:
    """The transpose of :func:`average_pool`: each mean's gradient to its window, 0 beyond the last; ``shape`` of x."""
    out = empty_tensor(shape)
    _on_maps(_spread, gradient, out, size, shape)
    return out


class _AveragePool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        ctx.shape, ctx.size = x.shape, size
        out = empty_tensor((*x.shape[:2], x.shape[2] // size, x.shape[3] // size))
        _on_maps(_pool, x, out, size, x.shape)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return spread(gradient, ctx.size, ctx.shape), None


def _on_maps(loop: Any, source: Tensor, out: Tensor, size: int, large: torch.Size) -> None:
    maps = large[0] * large[1]
    run(
        loop,
        source.detach().contiguous().view(maps, *source.shape[2:]).numpy(),
        size,
        out.view(maps, *out.shape[2:]).numpy(),
        tasks=-(-maps // _PER_TASK),
        work=float(large.numel()),
    )


@compiled
def _pool(counter: Any, x: Any, size: Any, out: Any) -> None:
    maps, height, width = out.shape
    share = f32(size * size)
    while True:
        first = claim(counter) * _PER_TASK
        if first >= maps:
            break
        for m in range(first, min(first + _PER_TASK, maps)):
            for y in range(height):
                for column in range(width):
                    total = f32(0)
                    for dy in range(size):
                        for dx in range(size):
                            total += x[m, y * size + dy, column * size + dx]
                    out[m, y, column] = total / share


@compiled
def _spread(counter: Any, gradient: Any, size: Any, out: Any) -> None:
    maps, height, width = gradient.shape
    share = f32(size * size)
    while True:
        first = claim(counter) * _PER_TASK
        if first >= maps:
            break
        for m in range(first, min(first + _PER_TASK, maps)):
            for y in range(height):
                top = y * size
                for column in range(width):
                    value = gradient[m, y, column] / share
                    for dx in range(size):
                        out[m, top, column * size + dx] = value
                out[m, top, width * size :] = f32(0)
                for dy in range(1, size):
                    out[m, top + dy] = out[m, top]
            out[m, height * size :] = f32(0)

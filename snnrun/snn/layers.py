"""Synapses, pooling and flatten: ordinary linear maps on both channels of :class:`Spikes`.

Moving a presynaptic spike acts through the weights on its timing twin only, and adds nothing to dW: the timing current
is W (s t), with spikes and weights constant. As the twin t is zero, so is every linear map of it; only the transposed
map of its gradient is ever computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnrun.snn.spikes import Spikes


class _Twin(torch.autograd.Function):
    """A linear map of a timing twin, given by the shape of its result and its transpose."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, shape: torch.Size, transpose: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.transpose = transpose
        return t.new_zeros(()).expand(shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transpose(gradient), None, None


def twin_map(t: Tensor | None, shape: torch.Size, transpose: Callable[[Tensor], Tensor]) -> Tensor | None:
    """What a linear map with this ``transpose`` makes of a timing twin: zeros of ``shape``."""
    return None if t is None else _Twin.apply(t, shape, transpose)  # type: ignore[no-untyped-call]


class Synapse(nn.Module):
    """A weighted layer's linear map and its bias; PyTorch's default initialisation with zero biases."""

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, weight_shape: tuple[int, ...]) -> None:
        super().__init__()
        bound = 1 / math.sqrt(math.prod(weight_shape[1:]))
        self.weight = nn.Parameter(self._stored(torch.empty(weight_shape).uniform_(-bound, bound)))
        self.bias = nn.Parameter(torch.zeros(weight_shape[0]))

    @property
    def fan_in(self) -> int:
        return math.prod(self.weight.shape[1:])

    def currents(self, x: Spikes) -> tuple[Tensor, Tensor | None]:
        """Synaptic current W s and timing current W (s * t), both [T, B, ...]."""
        current, s, weight = self._map(x.s, self.weight), x.s.detach(), self.weight.detach()
        return current, twin_map(x.t, current.shape, lambda gradient: self._timing(s, gradient, weight))

    @staticmethod
    def _stored(weight: Tensor) -> Tensor:
        """The weights as they lie in memory."""
        return weight

    def bias_per_neuron(self) -> Tensor:
        """The bias, shaped to broadcast against the current of one step."""
        raise NotImplementedError

    def synops(self, s: Tensor) -> Tensor:
        """Synaptic operations per sample, [B]: each non-zero input times the synapses that it really has."""
        raise NotImplementedError

    def _map(self, x: Tensor, weight: Tensor) -> Tensor:
        raise NotImplementedError

    def _timing(self, s: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
        """s * (W^T gradient): the timing channel of the layer below."""
        raise NotImplementedError


class Dense(Synapse):
    """All-to-all synapses, [T, B, fan_in] -> [T, B, N]."""

    def __init__(self, fan_in: int, neurons: int) -> None:
        super().__init__((neurons, fan_in))

    @staticmethod
    def _stored(weight: Tensor) -> Tensor:
        return weight.t().contiguous().t()  # input-major: an event of one input reads, and changes, one row

    def bias_per_neuron(self) -> Tensor:
        return self.bias

    def synops(self, s: Tensor) -> Tensor:
        return s.count_nonzero((0, 2)) * self.weight.shape[0]

    def _map(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight)

    def _timing(self, s: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
        return s * (gradient @ weight)


class Conv(Synapse):
    """Convolution with stride 1 that keeps the map's size, [T, B, C, H, W] -> [T, B, maps, H, W]."""

    def __init__(self, channels: int, maps: int, kernel_size: int) -> None:
        super().__init__((maps, channels, kernel_size, kernel_size))
        self.convolve: Callable[[Tensor, Tensor], Tensor] = _convolve
        self.transposed_at: Callable[[Tensor, Tensor, Tensor], Tensor] = _transposed_at

    def use(self, kernel: ModuleType) -> None:
        """Take a kernel's own convolution, where it has one."""
        self.convolve = getattr(kernel, "convolve", _convolve)
        self.transposed_at = getattr(kernel, "transposed_at", _transposed_at)

    def bias_per_neuron(self) -> Tensor:
        return self.bias[:, None, None]

    def synops(self, s: Tensor) -> Tensor:
        maps, _, *kernel = self.weight.shape
        pixel = torch.ones(1, 1, *s.shape[-2:], device=s.device, requires_grad=True)
        with torch.enable_grad():  # the fan-out of a pixel is the gradient of the sum of a convolution by ones
            F.conv2d(pixel, pixel.new_ones(1, 1, *kernel), padding="same").sum().backward()
        assert pixel.grad is not None
        fan_out = (pixel.grad[0, 0] * maps).round().long()
        return ((s != 0).sum((0, 2)) * fan_out).sum((1, 2))

    def _map(self, x: Tensor, weight: Tensor) -> Tensor:
        maps = self.convolve(x.flatten(0, 1), weight)
        return maps.view(*x.shape[:2], *maps.shape[1:])

    def _timing(self, s: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
        below = self.transposed_at(s.flatten(0, 1), gradient.flatten(0, 1), weight)
        return below.view(s.shape)


class AveragePool(nn.Module):
    """Mean over windows; hands on real values. Odd maps are floored."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.average: Callable[[Tensor, int], Tensor] = F.avg_pool2d
        self.spread: Callable[[Tensor, int, torch.Size], Tensor] = _spread

    def use(self, kernel: ModuleType) -> None:
        """Take a kernel's own pooling, where it has one."""
        self.average = getattr(kernel, "average_pool", F.avg_pool2d)
        self.spread = getattr(kernel, "spread", _spread)

    def forward(self, x: Spikes) -> Spikes:
        pooled = _per_step(lambda frames: self.average(frames, self.size), x.s)
        frames = x.s.shape[0] * x.s.shape[1]

        def transpose(gradient: Tensor) -> Tensor:
            maps = torch.Size((frames, *x.s.shape[2:]))
            return self.spread(gradient.flatten(0, 1), self.size, maps).view(x.s.shape)

        return Spikes(pooled, twin_map(x.t, pooled.shape, transpose))


class MaxPool(nn.Module):
    """The value at the arg-max of each window (ties: first in row-major order), on both channels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Spikes) -> Spikes:
        flat, index = F.max_pool2d(x.s.flatten(0, 1), self.size, return_indices=True)
        s = flat.unflatten(0, x.s.shape[:2])
        if x.t is None:
            return Spikes(s)
        t = x.t.flatten(3).gather(3, index.unflatten(0, x.s.shape[:2]).flatten(3))
        return Spikes(s, t.view_as(s))


class Flatten(nn.Module):
    """[T, B, C, H, W] -> [T, B, C H W]."""

    def forward(self, x: Spikes) -> Spikes:
        shape, flat = x.s.shape, x.s.flatten(2)
        return Spikes(flat, twin_map(x.t, flat.shape, lambda gradient: gradient.reshape(shape)))


POOLS: dict[str, Callable[[int], nn.Module]] = {"apool": AveragePool, "mpool": MaxPool}


def _per_step(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a map on [B, C, H, W] to every step of [T, B, C, H, W]."""
    mapped = function(x.flatten(0, 1))
    return mapped.view(*x.shape[:2], *mapped.shape[1:])


def _convolve(frames: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(frames, weight, padding="same")


def _transposed_at(s: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    before = (weight.shape[-1] - 1) // 2  # an even kernel pads one more behind
    height, width = gradient.shape[-2:]
    return s * F.conv_transpose2d(gradient, weight, padding=before)[..., :height, :width]


def _spread(gradient: Tensor, size: int, shape: torch.Size) -> Tensor:
    window, back = [size, size], torch.ops.aten.avg_pool2d_backward
    spread: Tensor = back(gradient, gradient.new_empty(shape), window, window, [0, 0], False, True, None)
    return spread

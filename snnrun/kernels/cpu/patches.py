"""Compiled loops of a convolution whose input is mostly zeros: each non-zero input meets the kernel's weights once.

Maps keep their size (stride 1, zeros around; an even kernel looks one further ahead). Layouts: x [frames, C, H, W];
weights packed as [C * k * k, lanes], lanes being output maps rounded up to ``16 * len(block)``; a frame of outputs is
worked on as [H * W, lanes], so that an input changes whole rows of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnrun.kernels.cpu.vector import claim, compiled, compiled_sums, f32


@compiled
def _add(block: Any, frame: Any, at: Any, value: Any, packed: Any, weight: Any) -> None:
    for j in range(16 * len(block)):
        frame[at, j] += value * packed[weight, j]


@compiled
def _add_gradient(block: Any, gradient: Any, group: Any, weight: Any, value: Any, frame: Any, at: Any) -> None:
    for j in range(16 * len(block)):
        gradient[group, weight, j] += value * frame[at, j]


@compiled_sums
def _dot(block: Any, frame: Any, at: Any, packed: Any, weight: Any) -> Any:
    total = f32(0)
    for j in range(16 * len(block)):
        total += frame[at, j] * packed[weight, j]
    return total


@compiled
def _read(frame: Any, maps: Any, f: Any) -> None:
    """[maps, H * W] to [H * W, lanes]."""
    for first in range(0, maps.shape[1], 16):
        for at in range(maps.shape[2]):
            for o in range(first, min(first + 16, maps.shape[1])):
                frame[at, o] = maps[f, o, at]


@compiled
def convolve(block: Any, counter: Any, x: Any, packed: Any, kernel: Any, out: Any) -> None:
    """out [frames, maps, H * W]."""
    frames, C, H, W = x.shape
    maps, before = out.shape[1], (kernel - 1) // 2
    frame = np.empty((H * W, 16 * len(block)), np.float32)
    while True:
        f = claim(counter)
        if f >= frames:
            break
        frame[:] = f32(0)
        for c in range(C):
            for y in range(H):
                for column in range(W):
                    value = x[f, c, y, column]
                    if value != f32(0):
                        for ky in range(max(0, y + before - H + 1), min(kernel, y + before + 1)):
                            for kx in range(max(0, column + before - W + 1), min(kernel, column + before + 1)):
                                at = (y + before - ky) * W + column + before - kx
                                _add(block, frame, at, value, packed, (c * kernel + ky) * kernel + kx)
        for first in range(0, maps, 16):
            for at in range(H * W):
                for o in range(first, min(first + 16, maps)):
                    out[f, o, at] = frame[at, o]


@compiled
def weight_gradient(block: Any, counter: Any, x: Any, gradient: Any, kernel: Any, out: Any) -> None:
    """gradient [frames, maps, H * W] -> out [groups, C * k * k, lanes], a sum for each group of frames."""
    frames, C, H, W = x.shape
    groups, before = out.shape[0], (kernel - 1) // 2
    frame = np.zeros((H * W, 16 * len(block)), np.float32)
    while True:
        group = claim(counter)
        if group >= groups:
            break
        for f in range(frames * group // groups, frames * (group + 1) // groups):
            _read(frame, gradient, f)
            for c in range(C):
                for y in range(H):
                    for column in range(W):
                        value = x[f, c, y, column]
                        if value != f32(0):
                            for ky in range(max(0, y + before - H + 1), min(kernel, y + before + 1)):
                                for kx in range(max(0, column + before - W + 1), min(kernel, column + before + 1)):
                                    at = (y + before - ky) * W + column + before - kx
                                    weight = (c * kernel + ky) * kernel + kx
                                    _add_gradient(block, out, group, weight, value, frame, at)


@compiled
def transposed_at(block: Any, counter: Any, x: Any, gradient: Any, packed: Any, kernel: Any, out: Any) -> None:
    """gradient [frames, maps, H * W] -> out = x * (W^T gradient), [frames, C, H, W], computed where x is not zero."""
    frames, C, H, W = x.shape
    before = (kernel - 1) // 2
    frame = np.zeros((H * W, 16 * len(block)), np.float32)
    while True:
        f = claim(counter)
        if f >= frames:
            break
        _read(frame, gradient, f)
        for c in range(C):
            for y in range(H):
                for column in range(W):
                    value, total = x[f, c, y, column], f32(0)
                    if value != f32(0):
                        for ky in range(max(0, y + before - H + 1), min(kernel, y + before + 1)):
                            for kx in range(max(0, column + before - W + 1), min(kernel, column + before + 1)):
                                at = (y + before - ky) * W + column + before - kx
                                total += _dot(block, frame, at, packed, (c * kernel + ky) * kernel + kx)
                    out[f, c, y, column] = value * total

"""Large arrays used again from step to step: fresh memory costs a page fault every 4 KiB, as much as the kernels."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_KEPT = 24  # free arrays; the oldest goes
_LARGE = 1 << 20  # bytes; what is smaller, malloc reuses by itself

_free: list[np.ndarray] = []
_returned: deque[np.ndarray] = deque()  # by finalizers, which may run at any moment: only _take changes _free


class Buffers:
    """Arrays that go back for reuse together, when this object is dropped; keep no view of them beyond it."""

    def __init__(self) -> None:
        self._taken: list[np.ndarray] = []
        weakref.finalize(self, _give_back, self._taken)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array with any content. Memory that is never written costs nothing, so capacities may be generous."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = _take(size)
        self._taken.append(memory)
        array: np.ndarray = memory[:size].view(dtype).reshape(shape)
        return array


def empty_tensor(shape: Sequence[int]) -> Tensor:
    """A float32 tensor with any content, whose memory goes back for reuse with its last view."""
    size = 4 * math.prod(shape)
    if size < _LARGE:
        return torch.empty(shape)
    memory = _take(size)
    array = memory[:size].view(np.float32).reshape(shape)
    weakref.finalize(array, _give_back, [memory])  # the tensor holds this very array
    return torch.from_numpy(array)


def _take(size: int) -> np.ndarray:
    while _returned:
        _free.append(_returned.popleft())
    del _free[:-_KEPT]
    fitting = [i for i, memory in enumerate(_free) if size <= memory.size <= 2 * size + 4096]
    if not fitting:
        return np.empty(size, dtype=np.uint8)
    return _free.pop(min(fitting, key=lambda i: _free[i].size))


def _give_back(taken: list[np.ndarray]) -> None:
    _returned.extend(taken)
    taken.clear()

"""Large arrays used again from step to step: fresh memory costs a page fault every 4 KiB, as much as the kernels."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

_KEPT = 24  # free arrays; the oldest goes

_free: list[np.ndarray] = []


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


def _take(size: int) -> np.ndarray:
    fitting = [i for i, memory in enumerate(_free) if size <= memory.size <= 2 * size + 4096]
    if not fitting:
        return np.empty(size, dtype=np.uint8)
    return _free.pop(min(fitting, key=lambda i: _free[i].size))


def _give_back(taken: list[np.ndarray]) -> None:
    _free.extend(taken)
    taken.clear()
    del _free[:-_KEPT]

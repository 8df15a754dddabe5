"""Whether a run fits into this machine, told before its allocations are."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from snnrun.errors import UserError
from snnrun.snn.architecture import LayerSpec

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_FLOAT = 4


def refuse_too_large(specs: Sequence[LayerSpec], T: int, batch: int) -> None:
    """Hold the least that a step needs (weights, gradients, two moments; spikes and potentials) against the machine.

    Args:
        batch: samples of the largest batch, or as many as are known of.

    Raises:
        UserError: it cannot fit.
    """
    weights = cells = 0
    for spec in specs:
        if spec.kind == "dense":
            weights += math.prod(spec.in_shape) * math.prod(spec.out_shape)
        elif spec.kind == "conv":
            weights += spec.in_shape[0] * spec.out_shape[0] * spec.kernel**2
        cells += math.prod(spec.out_shape) * (spec.kind in ("dense", "conv"))
    needed, there = _FLOAT * (4 * weights + 2 * cells * T * batch), available()
    if needed > there:
        raise UserError(
            f"{weights:,} weights and {T} steps of {cells:,} neurons on {batch} samples need "
            f"{needed / 1e9:,.0f} GB or more, this machine has {there / 1e9:,.0f}",
            "Make model.layers, dataset.T or trainer.batch_size smaller",
        )


def available() -> int:
    """Bytes of memory that this process may have at most."""
    most = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in _LIMITS:
        with suppress(OSError, ValueError):
            most.append(int(Path(limit).read_text()))
    return min(most)


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that memory is used up; torch has an error of its own for GPUs, and none for CPUs."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )

"""Batches of input spikes, in an order that depends on seed and epoch only."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from snnrun.data.dataset import Split
from snnrun.losses import Targets
from snnrun.snn import Events
from snnrun.stop import SIGNALS, preemption_signal


class Batch(NamedTuple):
    """Input spikes, as events or dense [T, B, *shape], and what they should be turned into."""

    spikes: Tensor | Events
    targets: Targets

    @property
    def size(self) -> int:
        """Samples."""
        return self.spikes.batch_size if isinstance(self.spikes, Events) else self.spikes.shape[1]

    def to(self, device: torch.device) -> Batch:
        label, train = (None if x is None else x.to(device, non_blocking=True) for x in self.targets)
        return Batch(self.spikes.to(device), Targets(label, train))


def shuffled(size: int, seed: int, epoch: int) -> np.ndarray:
    """The order of samples in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(size)


def batches(
    split: Split,
    batch_size: int,
    workers: int = 0,
    order: np.ndarray | None = None,
    part: Callable[[np.ndarray], np.ndarray] = lambda batch: batch,
) -> Iterator[Batch]:
    """Cut a split into batches, the last one possibly smaller.

    Args:
        order: positions within the split; None keeps its order.
        workers: processes that prepare batches ahead (forked, so that they share memory-mapped data).
        part: picks, of the positions in a batch, those that are wanted here.
    """
    positions = np.arange(len(split)) if order is None else order
    chunks = [part(positions[start : start + batch_size]) for start in range(0, len(positions), batch_size)]
    loader: DataLoader[Any] = DataLoader(
        _ByChunk(split),  # type: ignore[arg-type]
        batch_size=None,
        sampler=chunks,
        num_workers=workers,
        collate_fn=_identity,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_say_nothing_when_it_is_gone,
        generator=torch.Generator(),  # its own, so that iterating draws nothing from the global one
    )
    with _kept_from_workers({*SIGNALS, preemption_signal()} if workers else set()):
        return iter(loader)


class _ByChunk:
    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, chunk: np.ndarray) -> Batch:
        indices = self.split.indices[chunk]
        return Batch(self.split.source.spikes(indices), self.split.source.targets(indices))

    def __len__(self) -> int:
        return len(self.split)


def _identity(batch: Any) -> Any:
    return batch


@contextmanager
def _kept_from_workers(signals: set[int]) -> Iterator[None]:
    """Processes that begin inside the block never hear these signals.

    A terminal, timeout(1) or SLURM sends them to all processes of a run, of which this one alone decides when to stop:
    it may want the batch that a worker is at. Workers end by themselves when this process does.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals) if signals else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _say_nothing_when_it_is_gone(worker: int) -> None:
    """In a worker: that the training process was killed while it fetched a batch is no news to the user."""
    sys.excepthook = _unless_connection_lost


def _unless_connection_lost(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """For :data:`sys.excepthook`, which the thread of a worker that hands over batches calls."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, traceback)

"""Batches of input spikes, in an order that depends on seed and epoch only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from snnrun.data.dataset import Split
from snnrun.data.workers import deaf_to_stopping, prepare
from snnrun.losses import Targets
from snnrun.snn import Events


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
        worker_init_fn=prepare,
        generator=torch.Generator(),  # its own, so that iterating draws nothing from the global one
    )
    with deaf_to_stopping() if workers else nullcontext():
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

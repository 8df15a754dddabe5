"""Event recordings to input spikes: binned on the fly on a fixed time grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnrun.data.store import EventStore
from snnrun.losses import Targets


class EventList(NamedTuple):
    """Input spikes of a batch as coordinates, int32 [spikes] each, sorted by step, then sample, then address."""

    sample: np.ndarray
    step: np.ndarray
    address: np.ndarray


@dataclass
class EventSource:
    """Recordings of a store as input spikes: step = floor(t_us T / window_us), several of an input in a step are one.

    Attributes:
        shape: of one step, e.g. (2, 34, 34); an event's address is its row-major index.
        window_us: length of the window that becomes T steps; later events are dropped.
    """

    store: EventStore
    shape: tuple[int, ...]
    T: int
    window_us: int

    def __len__(self) -> int:
        return len(self.store.labels)

    @property
    def labels(self) -> np.ndarray:
        """Classes, int64 [n]."""
        return self.store.labels

    def spikes(self, indices: np.ndarray) -> Tensor:
        """Input spikes, float32 0 or 1, [T, len(indices), *shape]."""
        spikes = torch.zeros(self.T, len(indices), *self.shape)
        spikes.view(-1).numpy()[self._flat(indices)] = 1
        return spikes

    def event_list(self, indices: np.ndarray) -> EventList:
        """The same spikes without the zeros, each once; ``sample`` counts positions in ``indices``."""
        inputs, size = math.prod(self.shape), max(len(indices), 1)
        narrow = self.T * size * inputs <= np.iinfo(np.int32).max  # sorts and divides in half the time
        flat = np.sort(self._flat(indices).astype(np.int32 if narrow else np.int64))
        flat = flat[np.diff(flat, prepend=-1) > 0]
        row = flat // inputs  # faster than np.divmod, which knows no constant divisors
        step = row // size
        return EventList(*(x.astype(np.int32, copy=False) for x in (row - step * size, step, flat - row * inputs)))

    def targets(self, indices: np.ndarray) -> Targets:
        """Class labels of the samples."""
        return Targets(torch.from_numpy(self.store.labels[indices]))

    def fingerprint(self) -> str:
        """Hash of the packed events and labels."""
        return self.store.content_hash

    def _flat(self, indices: np.ndarray) -> np.ndarray:
        """Index of every event within the window into [T, len(indices), inputs] flattened; may hold duplicates."""
        inputs = math.prod(self.shape)
        parts = []
        for position, index in enumerate(indices):
            start, end = self.store.offsets[index], self.store.offsets[index + 1]
            step = self.store.time_us[start:end].astype(np.int64) * self.T // self.window_us
            flat = (step * len(indices) + position) * inputs + self.store.address[start:end]
            parts.append(flat[step < self.T])
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

"""Event recordings to input spikes: binned on the fly on a fixed time grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from snnrun.data.store import EventStore
from snnrun.losses import Targets
from snnrun.snn import Events


@dataclass
class EventSource:
    """Recordings of a store as input spikes: step = floor(t_us T / window_us), several of an input in a step are one.

    Attributes:
        shape: of one step, e.g. (2, 34, 34); an event's address is its row-major index.
        window_us: length of the window that becomes T steps; later events are dropped.
        inputs: input of every address of the store, where they are not the same (coarser pixels).
    """

    store: EventStore
    shape: tuple[int, ...]
    T: int
    window_us: int
    inputs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.store.labels)

    @property
    def labels(self) -> np.ndarray:
        """Classes, int64 [n]."""
        return self.store.labels

    def spikes(self, indices: np.ndarray) -> Events:
        """Input spikes of the samples, each once."""
        inputs = math.prod(self.shape)
        narrow = self.T * len(indices) * inputs <= np.iinfo(np.int32).max  # sorts and divides in half the time
        keys = np.sort(self._keys(indices).astype(np.int32 if narrow else np.int64))
        keys = keys[np.diff(keys, prepend=-1) > 0]
        return Events.from_keys(keys, self.T, len(indices), self.shape)

    def targets(self, indices: np.ndarray) -> Targets:
        """Class labels of the samples."""
        return Targets(torch.from_numpy(self.store.labels[indices]))

    def fingerprint(self) -> str:
        """Hash of the packed events and labels."""
        return self.store.content_hash

    def _keys(self, indices: np.ndarray) -> np.ndarray:
        """Index of every event within the window into [len(indices), T, inputs] flattened; may hold duplicates."""
        inputs = math.prod(self.shape)
        parts = []
        for position, index in enumerate(indices):
            start, end = self.store.offsets[index], self.store.offsets[index + 1]
            step = self.store.time_us[start:end].astype(np.int64) * self.T // self.window_us
            address = self.store.address[start:end]
            if self.inputs is not None:
                address = self.inputs[address]
            keys = (position * self.T + step) * inputs + address
            parts.append(keys[step < self.T])
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

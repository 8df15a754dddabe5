"""Pixels to input spikes: latency and rate coding (integer arithmetic, so that every machine draws the same spikes)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from snnrun.losses import Targets
from snnrun.snn import Events


def latency_table(k_max: int, t_last: int) -> np.ndarray:
    """Spike step of every pixel value 0..k_max: floor(t_last (k_max - k) / k_max), -1 (never) for k = 0; int64."""
    k = np.arange(k_max + 1)
    return np.where(k > 0, t_last * (k_max - k) // k_max, -1)


def rate_spikes(pixels: np.ndarray, T: int, probability: float, k_max: int, seed: int, index: int) -> np.ndarray:
    """Spikes of one sample, bool [T, *pixels.shape]: each step with probability ``probability * k / k_max``.

    Drawn from a generator seeded by (seed, index), so a sample looks the same in every epoch and every worker.
    """
    draws = np.random.default_rng([seed, index]).random((T, *pixels.shape), dtype=np.float32)
    return draws < np.float32(probability) * pixels.astype(np.float32) / np.float32(k_max)


@dataclass
class CodedImages:
    """Labelled images that become input spikes batch by batch.

    Attributes:
        pixels: integers 0..k_max, [n, *shape].
        labels: int64 [n].
        coding: "latency" (last spike at step ``t_last``) or "rate" (at most ``max_rate`` spikes per step).
        seed: of the run; rate coding draws from it.
        stream: keeps the draws of several sources (train, test) apart.
    """

    pixels: np.ndarray
    labels: np.ndarray
    k_max: int
    T: int
    coding: str = "latency"
    t_last: int = 24
    max_rate: float = 0.2
    seed: int = 0
    stream: int = 0

    def __len__(self) -> int:
        return len(self.pixels)

    def spikes(self, indices: np.ndarray) -> Events:
        """Input spikes of the samples."""
        pixels = self.pixels[indices]
        inputs = pixels[0].size
        if self.coding == "rate":
            parts = [np.empty(0, dtype=np.int64)]
            for position, index in enumerate(indices):
                stream = 2 * int(index) + self.stream
                fired = rate_spikes(pixels[position], self.T, self.max_rate, self.k_max, self.seed, stream)
                parts.append(np.flatnonzero(fired) + position * self.T * inputs)
            keys = np.concatenate(parts)
        else:
            step = self._table[pixels.reshape(len(pixels), -1)]
            sample, address = np.nonzero(step >= 0)
            keys = np.sort((sample * self.T + step[sample, address]) * inputs + address)
        return Events.from_keys(keys, self.T, len(indices), pixels.shape[1:])

    def targets(self, indices: np.ndarray) -> Targets:
        """Class labels of the samples."""
        return Targets(torch.from_numpy(self.labels[indices]))

    def fingerprint(self) -> str:
        """Hash of pixels and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.pixels).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    @cached_property
    def _table(self) -> np.ndarray:
        return latency_table(self.k_max, self.t_last)

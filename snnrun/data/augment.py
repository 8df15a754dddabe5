"""Augmentation of input spikes, in training only: drops, shifts and jitter, drawn anew in each epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from snnrun.losses import Targets
from snnrun.snn import Events

if TYPE_CHECKING:
    from snnrun.data.dataset import Source


@dataclass(frozen=True)
class Augmented:
    """A source whose spikes are changed at random once :meth:`in_epoch` has said where the draws come from.

    A sample's draws depend on (seed, epoch, index of the sample) alone: neither on its batch nor on the process that
    prepares it, nor on whether the run was interrupted.

    Attributes:
        shape: of one step, (N,) or (C, H, W).
        drop: probability with which an input spike vanishes.
        shift: the picture moves by up to so many pixels, each way; what leaves it vanishes.
        jitter: every spike moves by up to so many steps, each way; what leaves the window vanishes, and spikes of an
            input that meet are one.
        draws: seed and epoch; None: spikes as they are.
    """

    source: Source
    shape: tuple[int, ...]
    drop: float = 0.0
    shift: int = 0
    jitter: int = 0
    draws: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.source)

    @property
    def labels(self) -> np.ndarray | None:
        """Those of the source."""
        return self.source.labels

    def in_epoch(self, seed: int, epoch: int) -> Augmented:
        """The same samples as they look in one epoch of a run."""
        return replace(self, draws=(seed, epoch))

    def spikes(self, indices: np.ndarray) -> Tensor | Events:
        """Input spikes of the samples."""
        spikes = self.source.spikes(indices)
        if self.draws is None:
            return spikes
        events = spikes if isinstance(spikes, Events) else Events.from_dense(spikes)
        inputs = math.prod(self.shape)
        step, address = events.where()[1].numpy(), events.address.numpy().astype(np.int64)
        bounds = [*events.offsets[:, 0].tolist(), len(address)]
        parts = []
        for position, index in enumerate(indices.tolist()):
            part = slice(bounds[position], bounds[position + 1])
            rng = np.random.default_rng([*self.draws, index])
            steps, addresses = self._changed(step[part], address[part], events.T, rng)
            parts.append((position * events.T + steps) * inputs + addresses)
        keys = np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)
        return Events.from_keys(keys, events.T, len(indices), self.shape)

    def targets(self, indices: np.ndarray) -> Targets:
        """Those of the source."""
        return self.source.targets(indices)

    def fingerprint(self) -> str:
        """That of the source: samples are the same, however they are changed in training."""
        return self.source.fingerprint()

    def _changed(self, step: np.ndarray, address: np.ndarray, T: int, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        """Steps and addresses of one sample's spikes; may hold one twice."""
        if self.drop:
            kept = rng.random(len(step)) >= self.drop
            step, address = step[kept], address[kept]
        if self.jitter:
            step = step + rng.integers(-self.jitter, self.jitter + 1, len(step))
            kept = (step >= 0) & (step < T)
            step, address = step[kept], address[kept]
        if self.shift:
            channel, y, x = np.unravel_index(address, self.shape)
            down, right = rng.integers(-self.shift, self.shift + 1, 2)
            y, x = y + down, x + right
            kept = (y >= 0) & (y < self.shape[1]) & (x >= 0) & (x < self.shape[2])
            step = step[kept]
            address = np.ravel_multi_index((channel[kept], y[kept], x[kept]), self.shape)
        return step, address

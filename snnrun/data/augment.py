"""Augmentation of input spikes, in training only: pictures move, turn and bend, spikes drop out and jitter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from snnrun.losses import Targets
from snnrun.snn import Events

if TYPE_CHECKING:
    from snnrun.data.dataset import Source

_KNOTS = 7  # of the smooth field, each way: with Gaussians of a seventh of the picture, as Simard et al. 2003


@dataclass(frozen=True)
class Changes:
    """What may change in a sample; every number is the most, both ways, and drawn anew in each epoch.

    Attributes:
        drop: probability with which an input spike vanishes.
        jitter: steps by which each spike moves; what leaves the window vanishes.
        shift: pixels by which the picture moves; what leaves it vanishes.
        rotate: degrees by which the picture turns about its middle.
        zoom: it is scaled by a factor of up to 1 + zoom, or down to 1 / (1 + zoom).
        elastic: pixels (standard deviation, each way) by which a smooth random field bends the picture
            (Simard, Steinkraus & Platt 2003).

    Spikes of an input that meet in a step are one.
    """

    drop: float = 0.0
    jitter: int = 0
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    elastic: float = 0.0

    @property
    def of_pictures(self) -> bool:
        """Whether pixels move."""
        return bool(self.shift or self.rotate or self.zoom or self.elastic)

    @property
    def any(self) -> bool:
        """Whether anything changes at all."""
        return bool(self.of_pictures or self.drop or self.jitter)


@dataclass(frozen=True)
class Augmented:
    """A source whose spikes are changed at random once :meth:`in_epoch` has said where the draws come from.

    A sample's draws depend on (seed, epoch, index of the sample) alone: neither on its batch nor on the process that
    prepares it, nor on whether the run was interrupted.

    Attributes:
        shape: of one step, (N,) or (C, H, W).
        draws: seed and epoch; None: spikes as they are.
    """

    source: Source
    shape: tuple[int, ...]
    changes: Changes
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
        from snnrun.data.augment_loops import changed, keys_of

        events = spikes if isinstance(spikes, Events) else Events.from_dense(spikes)
        change, inputs, B = self.changes, math.prod(self.shape), len(indices)
        height, width = self.shape[-2:] if change.of_pictures else (0, 0)
        keys = changed(
            events.offsets.numpy(),
            events.address.numpy(),
            keys_of(*self.draws, np.asarray(indices, dtype=np.int64)),
            inputs,
            height,
            width,
            _gaussians(height),
            _gaussians(width),
            change.shift,
            math.radians(change.rotate),
            change.zoom,
            change.elastic,
            change.drop,
            change.jitter,
        )
        if B * events.T * inputs <= np.iinfo(np.int32).max:  # sorts and divides in half the time
            keys = keys.astype(np.int32)
        keys.sort()
        return Events.from_keys(keys[np.diff(keys, prepend=-1) > 0], events.T, B, self.shape)

    def targets(self, indices: np.ndarray) -> Targets:
        """Those of the source."""
        return self.source.targets(indices)

    def fingerprint(self) -> str:
        """That of the source: samples are the same, however they are changed in training."""
        return self.source.fingerprint()


@cache
def _gaussians(side: int) -> np.ndarray:
    """Weights of the knots at every pixel of a side, float64 [side, knots], the sum of their squares 1.

    So independent deviates at the knots blend to a field with the deviates' own variance everywhere.
    """
    distance = np.arange(side)[:, None] - np.linspace(0, max(side - 1, 0), _KNOTS)[None]
    weights = np.exp(-((distance / max(side / 7, 1)) ** 2) / 2)
    result: np.ndarray = weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return result

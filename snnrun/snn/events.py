"""A batch of input spikes as a list of events: what sparse data costs is the spikes, not the cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Events(NamedTuple):
    """Spikes of a batch without the zeros.

    Attributes:
        offsets: sample b at step t holds address[offsets[b, t] : offsets[b, t + 1]], int64 [B, T + 1].
        address: row-major index of an input that spikes, int32 [spikes]; each once per sample and step.
        shape: of one step of one sample, (N,) or (C, H, W).
    """

    offsets: Tensor
    address: Tensor
    shape: tuple[int, ...]

    @property
    def T(self) -> int:  # noqa: N802
        return self.offsets.shape[1] - 1

    @property
    def batch_size(self) -> int:
        return self.offsets.shape[0]

    def to(self, device: torch.device) -> Events:
        """The same on another device."""
        return self._replace(
            offsets=self.offsets.to(device, non_blocking=True), address=self.address.to(device, non_blocking=True)
        )

    def dense(self) -> Tensor:
        """float32 0 or 1, [T, B, *shape]."""
        spikes = torch.zeros(self.T, self.batch_size, *self.shape, device=self.address.device)
        flat = spikes.view(self.T, self.batch_size, -1)
        sample, step = self.where()
        flat[step, sample, self.address.long()] = 1
        return spikes

    def where(self) -> tuple[Tensor, Tensor]:
        """Sample and step of every event, int64 [spikes]."""
        per_cell = self.offsets.diff(dim=1).flatten()
        cell = torch.repeat_interleave(per_cell)
        return cell // self.T, cell % self.T

    @classmethod
    def from_dense(cls, spikes: Tensor) -> Events:
        """From spikes 0 or 1, [T, B, *shape].

        Raises:
            ValueError: other values.
        """
        T, B = spikes.shape[:2]
        flat = spikes.flatten(2)
        sample, step, address = flat.permute(1, 0, 2).nonzero(as_tuple=True)
        if not (flat[step, sample, address] == 1).all():
            raise ValueError("input spikes must be 0 or 1")
        return cls(offsets_of(sample * T + step, T, B), address.to(torch.int32), tuple(spikes.shape[2:]))

    @classmethod
    def from_keys(cls, keys: np.ndarray, T: int, B: int, shape: tuple[int, ...]) -> Events:
        """From sorted indices into [B, T, inputs] flattened, each once."""
        inputs = int(np.prod(shape))
        cell = keys // inputs  # faster than np.divmod, which knows no constant divisors
        address = (keys - cell * inputs).astype(np.int32, copy=False)
        return cls(offsets_of(torch.from_numpy(cell), T, B), torch.from_numpy(address), shape)


def offsets_of(cell: Tensor, T: int, B: int) -> Tensor:
    """Offsets [B, T + 1] of events whose cells (sample * T + step) are sorted."""
    counts = torch.bincount(cell, minlength=B * T)
    ends = torch.zeros(B * T + 1, dtype=torch.int64, device=cell.device)
    torch.cumsum(counts, 0, out=ends[1:])
    steps = torch.arange(T + 1, device=cell.device)
    return ends[torch.arange(B, device=cell.device)[:, None] * T + steps]

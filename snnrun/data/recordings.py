"""What all event recordings share: the window that becomes T steps, coarser pixels, and the step to a source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnrun.data.dataset import Dataset
from snnrun.data.events import EventSource
from snnrun.data.report import Reporter
from snnrun.data.roots import data_root
from snnrun.data.store import EventStore
from snnrun.errors import UserError
from snnrun.registry import param


@dataclass
class Recordings(Dataset):
    """Base of data sets of event recordings.

    Attributes:
        window_ms: length of the window that becomes T steps, from each recording's own time zero.
    """

    window_ms: float = param(300.0, ge=0.001, le=1e7)  # recordings have whole microseconds

    def check(self) -> None:
        super().check()
        data_root(self.root)

    @property
    def window_us(self) -> int:
        """The window in whole microseconds."""
        return round(self.window_ms * 1000)

    def source(self, store: EventStore) -> EventSource:
        """Packed recordings as input spikes."""
        return EventSource(store, self.shape, self.T, self.window_us)


@dataclass
class CameraRecordings(Recordings):
    """Base of recordings of event cameras: inputs are (polarity, y, x).

    Attributes:
        downscale: every square of so many pixels a side becomes one input, which spikes if any of them has an event.
    """

    downscale: int = param(1, ge=1)

    @property
    def sensor(self) -> tuple[int, int, int]:
        """(polarities, height, width) of the camera."""
        raise NotImplementedError(f"{type(self).__name__} needs sensor")

    @property
    def shape(self) -> tuple[int, ...]:
        polarities, height, width = self.sensor
        return polarities, -(-height // self.downscale), -(-width // self.downscale)

    def check(self) -> None:
        super().check()
        if self.downscale > min(self.sensor[1:]):
            height, width = self.sensor[1:]
            raise UserError(f"dataset.downscale is {self.downscale}", f"The camera has {width} x {height} pixels")

    def source(self, store: EventStore) -> EventSource:
        return EventSource(store, self.shape, self.T, self.window_us, coarser(self.sensor, self.downscale))


def coarser(sensor: tuple[int, int, int], downscale: int) -> np.ndarray | None:
    """Input of every address of a camera (polarities, height, width), int32; None where they are the same."""
    if downscale == 1:
        return None
    polarity, y, x = np.indices(sensor, dtype=np.int32).reshape(3, -1)
    height, width = -(-sensor[1] // downscale), -(-sensor[2] // downscale)
    inputs: np.ndarray = (polarity * height + y // downscale) * width + x // downscale
    return inputs


def note_fewer(report: Reporter, name: str, words: str, found: int, published: int, where: object) -> None:
    """Tell that a part holds fewer recordings than were published."""
    if found < published:
        report.note(f"{name}: {found:,} of {published:,} {words} recordings found in {where}, using these")

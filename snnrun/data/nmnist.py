"""N-MNIST (Orchard et al. 2015): MNIST digits seen by a moving event camera."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from snnrun.cache import cache_root
from snnrun.data.dataset import Data, Source, Split
from snnrun.data.events import EventSource
from snnrun.data.files import refuse_odd
from snnrun.data.recordings import CameraRecordings, note_fewer
from snnrun.data.report import Reporter
from snnrun.data.roots import data_root
from snnrun.data.splits import folds
from snnrun.data.store import Recording, open_store
from snnrun.data.tonic_download import fetch_with_tonic
from snnrun.errors import UserError
from snnrun.registry import param, register

_SIDE, _CLASSES, _FOLDS = 34, 10, 5
_OVERFLOW_Y, _OVERFLOW_US = 240, 1 << 13  # a row of 240 marks that the clock went on by this much
_LONGEST_US = 4_200_000_000  # the store keeps times in 32 bits
_MOST_BYTES = 64 << 20  # a thousand times the largest published recording
_PUBLISHED = {"Train": 60_000, "Test": 10_000}
_WORDS = {"Train": "training", "Test": "test"}
_MEND = "Replace or delete it"


def read_recording(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One recording: address (polarity, y, x) row-major, uint16 [events], and microseconds, uint32 [events].

    An event is 5 bytes: x, y, and a polarity bit with 23 bits of time, big-endian.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    try:
        refuse_odd(path, _MOST_BYTES, _MEND)
        raw = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})", _MEND) from None
    if len(raw) % 5:
        raise UserError(f"{path} is damaged: {len(raw)} bytes are no whole number of events (5 bytes each)", _MEND)
    x, y, high, middle, low = raw.reshape(-1, 5).T
    overflow = y == _OVERFLOW_Y
    if np.count_nonzero(overflow) * _OVERFLOW_US > _LONGEST_US:
        raise UserError(f"{path} is damaged: its clock runs past {_LONGEST_US / 1e6:,.0f} seconds", _MEND)
    time_us = ((high & 0x7F).astype(np.uint32) << 16) | (middle.astype(np.uint32) << 8) | low
    time_us += np.cumsum(overflow, dtype=np.uint32) * np.uint32(_OVERFLOW_US)
    x, y, polarity, time_us = (values[~overflow] for values in (x, y, high >> 7, time_us))
    if not len(x):
        raise UserError(f"{path} holds no event", _MEND)
    outside = np.flatnonzero((x >= _SIDE) | (y >= _SIDE))
    if len(outside):
        where = f"x={x[outside[0]]}, y={y[outside[0]]}"
        raise UserError(f"{path} is damaged: an event at {where} lies outside of {_SIDE}x{_SIDE}", _MEND)
    address = (polarity.astype(np.uint16) * _SIDE + y) * _SIDE + x
    return address, time_us


@register("dataset", "nmnist")
@dataclass
class NMNIST(CameraRecordings):
    """Recordings below ``<root>/NMNIST/Train/<digit>/*.bin`` and ``Test``; as many as are there.

    Attributes:
        fold: 0 to 4: all recordings, ``Train`` and ``Test``, are dealt out to five folds (by ``split_seed``), of which
            this one is the test; None: as published.
    """

    sensor = (2, _SIDE, _SIDE)
    outputs = _CLASSES

    fold: int | None = param(None, ge=0, le=_FOLDS - 1)

    def load(self, seed: int, report: Reporter) -> Data:
        if self.fold is None:
            return super().load(seed, report)
        source = self._source(self._folder(report), list(_PUBLISHED), report)
        test = folds(source.labels, _FOLDS, self.split_seed) == self.fold
        return self._cut(Split(source, np.flatnonzero(~test)), Split(source, np.flatnonzero(test)))

    def sources(self, seed: int, report: Reporter) -> tuple[Source, Source]:
        folder = self._folder(report)
        train, test = (self._source(folder, [part], report) for part in _PUBLISHED)
        return train, test

    def _folder(self, report: Reporter) -> Path:
        folder = data_root(self.root) / "NMNIST"
        if not any((folder / part).is_dir() for part in _PUBLISHED):
            _download(folder, report)
        return folder

    def _source(self, folder: Path, parts: Sequence[str], report: Reporter) -> EventSource:
        recordings: list[Recording] = []
        for part in parts:
            found = _recordings(folder / part, part)
            note_fewer(report, "N-MNIST", _WORDS[part], len(found), _PUBLISHED[part], folder / part)
            recordings += found
        name = "-".join(["nmnist", *map(str.lower, parts)])
        return self.source(open_store(name, recordings, read_recording, cache_root(), report))


def _recordings(folder: Path, part: str) -> list[Recording]:
    if not folder.is_dir():
        raise UserError(f"{folder} is missing", f"The {_WORDS[part]} recordings belong there, as <digit>/NUMBER.bin")
    found = []
    for label in range(_CLASSES):
        digit = folder / str(label)
        if not digit.is_dir():
            raise UserError(f"{digit} is missing", f"Recordings of digit {label} belong there, as NUMBER.bin")
        with os.scandir(digit) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".bin"))
        if not names:
            raise UserError(f"{digit} holds no .bin file", f"Recordings of digit {label} belong there")
        found += [Recording(digit / name, f"{part}/{label}/{name}", label) for name in names]
    return found


def _download(folder: Path, report: Reporter) -> None:
    from tonic import datasets

    fetch_with_tonic(
        "N-MNIST",
        folder,
        {part: partial(datasets.NMNIST, train=part == "Train") for part in _PUBLISHED},
        (datasets.NMNIST.train_url, datasets.NMNIST.test_url),
        ("Train/<digit>/NUMBER.bin", "Test/<digit>/NUMBER.bin"),
        report,
    )

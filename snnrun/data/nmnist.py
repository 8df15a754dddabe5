"""N-MNIST (Orchard et al. 2015): MNIST digits seen by a moving event camera."""

from __future__ import annotations

import os
import shutil
import urllib.error
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np
from filelock import FileLock

from snnrun.cache import cache_root
from snnrun.data.archives import strict_tonic
from snnrun.data.dataset import Dataset, Source
from snnrun.data.download import reason
from snnrun.data.events import EventSource
from snnrun.data.files import refuse_odd
from snnrun.data.report import Reporter
from snnrun.data.roots import data_root
from snnrun.data.store import Recording, open_store
from snnrun.errors import UserError
from snnrun.registry import param, register

_SIDE, _CLASSES = 34, 10
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
class NMNIST(Dataset):
    """Recordings below ``<root>/NMNIST/Train/<digit>/*.bin`` and ``Test``; as many as are there.

    Attributes:
        window_ms: length of the window that becomes T steps, from each recording's own time zero.
    """

    shape = (2, _SIDE, _SIDE)
    outputs = _CLASSES

    window_ms: float = param(300.0, ge=0.001, le=1e7)  # recordings have whole microseconds

    def check(self) -> None:
        super().check()
        data_root(self.root)

    def sources(self, seed: int, report: Reporter) -> tuple[Source, Source]:
        folder = data_root(self.root) / "NMNIST"
        if not any((folder / part).is_dir() for part in _PUBLISHED):
            _download(folder, report)
        train, test = (self._source(folder, part, report) for part in _PUBLISHED)
        return train, test

    def _source(self, folder: Path, part: str, report: Reporter) -> EventSource:
        recordings = _recordings(folder / part, part)
        if len(recordings) < _PUBLISHED[part]:
            found = f"{len(recordings):,} of {_PUBLISHED[part]:,} {_WORDS[part]} recordings"
            report.note(f"N-MNIST: {found} found in {folder / part}, using these")
        store = open_store(f"nmnist-{part.lower()}", recordings, read_recording, cache_root(), report)
        return EventSource(store, self.shape, self.T, window_us=round(self.window_ms * 1000))


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
    """Have tonic fetch, verify and unpack both parts beside ``folder``, and move them there when both are whole.

    Raises:
        UserError: no network, another content than published, no space.
    """
    from tonic import datasets

    urls = f"{datasets.NMNIST.train_url} and {datasets.NMNIST.test_url}"
    by_hand = f"Fill it by hand: {folder}/Train/<digit>/NUMBER.bin and {folder}/Test/<digit>/NUMBER.bin"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name("NMNIST.lock")):
            if not any((folder / part).is_dir() for part in _PUBLISHED):  # another process may have been faster
                _download_with_tonic(folder, report)
    except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError, RuntimeError) as error:
        raise UserError(
            f"N-MNIST is not in {folder} and cannot be downloaded from {urls} ({reason(error)})", by_hand
        ) from None
    except OSError as error:
        raise UserError(f"cannot write {folder} ({error.strerror or error})", "Choose another dataset.root") from None


def _download_with_tonic(folder: Path, report: Reporter) -> None:
    from tonic import datasets

    # One name for every process: the lock keeps them apart, and what a killed one left is removed here.
    temporary = folder.with_name("NMNIST.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for part in _PUBLISHED:
            report.note(f"N-MNIST: downloading {part} (tonic shows the progress)")
            with strict_tonic():
                datasets.NMNIST(str(temporary), train=part == "Train")
        folder.mkdir(exist_ok=True)
        for part in _PUBLISHED:
            (temporary / "NMNIST" / part).replace(folder / part)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

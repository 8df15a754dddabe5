"""N-MNIST (Orchard et al. 2015): MNIST digits seen by a moving event camera."""

from __future__ import annotations

import os
import shutil
import urllib.error
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from snnrun.data.dataset import Dataset, Source
from snnrun.data.events import EventSource
from snnrun.data.report import Reporter
from snnrun.data.roots import cache_root, data_root
from snnrun.data.store import Recording, open_store
from snnrun.errors import UserError
from snnrun.registry import param, register

_SIDE, _CLASSES = 34, 10
_OVERFLOW_Y, _OVERFLOW_US = 240, 1 << 13  # a row of 240 marks that the clock went on by this much
_PUBLISHED = {"Train": 60_000, "Test": 10_000}


def read_recording(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One recording: address (polarity, y, x) row-major, uint16 [events], and microseconds, uint32 [events].

    An event is 5 bytes: x, y, and a polarity bit with 23 bits of time, big-endian.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    raw = np.fromfile(path, dtype=np.uint8)
    if len(raw) % 5:
        raise UserError(f"{path} is damaged: {len(raw)} bytes are no whole number of events (5 bytes each)")
    x, y, high, middle, low = raw.reshape(-1, 5).T
    overflow = y == _OVERFLOW_Y
    time_us = ((high & 0x7F).astype(np.uint32) << 16) | (middle.astype(np.uint32) << 8) | low
    time_us += np.cumsum(overflow, dtype=np.uint32) * np.uint32(_OVERFLOW_US)
    x, y, polarity, time_us = (values[~overflow] for values in (x, y, high >> 7, time_us))
    if not len(x):
        raise UserError(f"{path} holds no event")
    if x.max() >= _SIDE or y.max() >= _SIDE:
        raise UserError(f"{path} is damaged: an event at x={x.max()}, y={y.max()} lies outside of {_SIDE}x{_SIDE}")
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
    preferred_loss = "count"

    window_ms: float = param(300.0, gt=0)

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
            found = f"{len(recordings):,} of {_PUBLISHED[part]:,}"
            report.note(f"N-MNIST {part}: {found} published recordings are in {folder / part}; using these")
        store = open_store(f"nmnist-{part.lower()}", recordings, read_recording, cache_root(), report)
        return EventSource(store, self.shape, self.T, window_us=round(self.window_ms * 1000))


def _recordings(folder: Path, part: str) -> list[Recording]:
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
    """Have tonic fetch, verify and unpack both parts, in a temporary folder that is renamed when whole."""
    from tonic import datasets

    temporary = folder.with_name(f"NMNIST.{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name("NMNIST.lock")):
            for part in _PUBLISHED:
                if (folder / part).is_dir():
                    continue
                report.note(f"downloading N-MNIST {part} from {datasets.NMNIST.base_url}")
                datasets.NMNIST(str(temporary), train=part == "Train")
                (temporary / "NMNIST" / part).replace(folder / part)
    except (urllib.error.URLError, ConnectionError, TimeoutError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or error
        urls = f"{datasets.NMNIST.train_url} and {datasets.NMNIST.test_url}"
        raise UserError(
            f"N-MNIST is not in {folder} and cannot be downloaded from {urls} ({reason})",
            f"Fill it by hand: {folder}/Train/<digit>/NUMBER.bin and {folder}/Test/<digit>/NUMBER.bin",
        ) from None
    except OSError as error:
        raise UserError(f"cannot write {folder} ({error.strerror or error})", "Choose another dataset.root") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

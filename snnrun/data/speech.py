"""Spoken digits (SHD) and commands (SSC) as spikes of a model of the inner ear, in HDF5 files (Cramer et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from snnrun.cache import cache_root
from snnrun.data.dataset import Source
from snnrun.data.recordings import Recordings, note_fewer
from snnrun.data.report import Reporter
from snnrun.data.roots import data_root
from snnrun.data.store import Recording, open_store
from snnrun.data.tonic_download import fetch_with_tonic
from snnrun.errors import UserError
from snnrun.registry import param, register

_CHANNELS = 700
_MEND = "Replace or delete it"
_WORDS = {"train": "training", "valid": "validation", "test": "test"}


def read_recording(path: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """One recording of a file: channels, uint16 [events], and microseconds, uint32 [events].

    The file holds ``spikes/times`` (seconds) and ``spikes/units`` (channels), an array a recording, and ``labels``.

    Raises:
        UserError: names the file, the recording and what is wrong with it.
    """
    try:
        file = _opened(path)
        seconds, channel = np.asarray(file["spikes/times"][index]), np.asarray(file["spikes/units"][index])
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise UserError(f"recording {index} of {path} cannot be read ({error})", _MEND) from None
    time_us = seconds.astype(np.float64) * 1e6  # whole microseconds by cutting off, as tonic has them
    problem = _problem(channel, time_us)
    if problem:
        raise UserError(f"{path} is damaged: recording {index} {problem}", _MEND)
    return channel.astype(np.uint16), time_us.astype(np.uint32)


def _problem(channel: np.ndarray, time_us: np.ndarray) -> str:
    if len(channel) != len(time_us):
        return f"has {len(time_us)} times for {len(channel)} channels"
    if not len(channel):
        return "holds no event"
    if channel.min() < 0 or channel.max() >= _CHANNELS:
        return f"has an event of channel {channel.max()}, channels are 0 to {_CHANNELS - 1}"
    if not (np.isfinite(time_us).all() and time_us.min() >= 0 and time_us.max() < 2**32):
        return "has an event before time zero, or more than an hour after it"
    return ""


@lru_cache(maxsize=1)
def _opened(path: Path) -> Any:
    import h5py

    return h5py.File(path, "r")


def _recordings(path: Path, classes: int) -> list[Recording]:
    """All recordings of a file.

    Raises:
        UserError: the file is missing, no HDF5, or its arrays are not those that were published.
    """
    import h5py

    if not path.is_file():
        raise UserError(f"{path} is missing", f"It belongs beside the other files in {path.parent}")
    try:
        with h5py.File(path, "r") as file:
            labels = np.asarray(file["labels"]).astype(np.int64)
            sizes = {len(file["spikes/times"]), len(file["spikes/units"]), len(labels)}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error})", _MEND) from None
    if len(sizes) > 1 or not len(labels):
        raise UserError(f"{path} is damaged: times, channels and labels are of {sorted(sizes)} recordings", _MEND)
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"{path} is damaged: label {labels.max()}, classes are 0 to {classes - 1}", _MEND)
    return [Recording(path, f"{path.name}/{index}", int(label), (index,)) for index, label in enumerate(labels)]


@dataclass
class Speech(Recordings):
    """Base of the two: ``<root>/<folder>/<name>_train.h5`` and so on; as many recordings as are there."""

    shape = (_CHANNELS,)

    folder: ClassVar[str]
    published: ClassVar[Mapping[str, int]]

    T: int = param(140, ge=1)
    window_ms: float = param(1400.0, ge=0.001, le=1e7)

    def sources(self, seed: int, report: Reporter) -> tuple[Source, Source]:
        self._fetch(report)
        return self._read("train", report), self._read("test", report)

    def _read(self, part: str, report: Reporter) -> Source:
        path = self._file(part)
        recordings = _recordings(path, self.outputs)
        note_fewer(report, self.folder, _WORDS[part], len(recordings), self.published[part], path)
        try:
            store = open_store(f"{self.name}-{part}", recordings, read_recording, cache_root(), report)
        finally:
            _opened.cache_clear()
        return self.source(store)

    def _file(self, part: str) -> Path:
        return data_root(self.root) / self.folder / f"{self.name}_{part}.h5"

    def _fetch(self, report: Reporter) -> None:
        if any(self._file(part).exists() for part in self.published):
            return
        from tonic import datasets

        kind = getattr(datasets, self.folder)
        names = {part: self._file(part).name for part in self.published}
        fetch_with_tonic(
            self.folder,
            self._file("train").parent,
            {name: partial(kind, **self._in_tonic(part)) for part, name in names.items()},
            [kind.base_url + getattr(kind, f"{part}_zip") for part in self.published],
            list(names.values()),
            report,
        )

    def _in_tonic(self, part: str) -> dict[str, Any]:
        """How tonic's class is told which part to save."""
        raise NotImplementedError(f"{type(self).__name__} needs _in_tonic()")


@register("dataset", "shd")
@dataclass
class SHD(Speech):
    """Spiking Heidelberg Digits: zero to nine in German and English, 20 classes; two speakers are in the test only."""

    outputs = 20
    folder = "SHD"
    published = MappingProxyType({"train": 8156, "test": 2264})

    def _in_tonic(self, part: str) -> dict[str, Any]:
        return {"train": part == "train"}


@register("dataset", "ssc")
@dataclass
class SSC(Speech):
    """Spiking Speech Commands: 35 classes, with a validation set of its own; ``val_share`` cuts one from the training
    set instead."""

    outputs = 35
    has_validation = True
    folder = "SSC"
    published = MappingProxyType({"train": 75_466, "valid": 9_981, "test": 20_382})

    val_share: float | None = param(None, gt=0, lt=1)

    def validation(self, seed: int, report: Reporter) -> Source:
        return self._read("valid", report)

    def _in_tonic(self, part: str) -> dict[str, Any]:
        return {"split": part}

"""DVS Gesture (Amir et al. 2017): hand and arm gestures before an event camera, cut into pieces by tonic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from snnrun.cache import cache_root
from snnrun.data.dataset import Source
from snnrun.data.recordings import CameraRecordings, note_fewer
from snnrun.data.report import Reporter
from snnrun.data.roots import data_root
from snnrun.data.store import Recording, open_store
from snnrun.data.tonic_download import fetch_with_tonic
from snnrun.errors import UserError
from snnrun.registry import param, register

_SIDE, _CLASSES = 128, 11
_PUBLISHED = {"ibmGestureTrain": 1077, "ibmGestureTest": 264}
_WORDS = {"ibmGestureTrain": "training", "ibmGestureTest": "test"}
_MEND = "Replace or delete it"


def read_recording(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One recording: address (polarity, y, x) row-major, uint16 [events], and microseconds, uint32 [events].

    The file holds an array of (x, y, polarity, milliseconds), an event a row. Recordings are pieces of longer ones:
    time zero is the first event.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    try:
        events = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error})", _MEND) from None
    if events.ndim != 2 or events.shape[1] != 4 or events.dtype.kind not in "iuf":
        raise UserError(
            f"{path} is damaged: {events.dtype} {list(events.shape)}, not a row of 4 numbers an event", _MEND
        )
    if not len(events):
        raise UserError(f"{path} holds no event", _MEND)
    x, y, polarity, time_ms = events.astype(np.int64).T
    outside = np.flatnonzero((x < 0) | (x >= _SIDE) | (y < 0) | (y >= _SIDE) | (polarity < 0) | (polarity > 1))
    if len(outside):
        where = f"x={x[outside[0]]}, y={y[outside[0]]}, polarity={polarity[outside[0]]}"
        raise UserError(f"{path} is damaged: an event at {where} lies outside of 2x{_SIDE}x{_SIDE}", _MEND)
    time_us = (time_ms - time_ms.min()) * 1000
    if time_us.max() >= 2**32:
        raise UserError(f"{path} is damaged: it lasts longer than an hour", _MEND)
    return ((polarity * _SIDE + y) * _SIDE + x).astype(np.uint16), time_us.astype(np.uint32)


@register("dataset", "dvsgesture")
@dataclass
class DVSGesture(CameraRecordings):
    """Recordings below ``<root>/DVSGesture/ibmGestureTrain/<user>_<light>/<class>.npy`` and ``ibmGestureTest``.

    Nobody is in both. As many as are there are used.
    """

    sensor = (2, _SIDE, _SIDE)
    outputs = _CLASSES

    window_ms: float = param(1500.0, ge=0.001, le=1e7)
    downscale: int = param(4, ge=1)

    def sources(self, seed: int, report: Reporter) -> tuple[Source, Source]:
        folder = data_root(self.root) / "DVSGesture"
        if not any((folder / part).exists() for part in _PUBLISHED):
            _download(folder, report)
        train, test = (self._read(folder, part, report) for part in _PUBLISHED)
        return train, test

    def _read(self, folder: Path, part: str, report: Reporter) -> Source:
        recordings = _recordings(folder / part)
        note_fewer(report, "DVS Gesture", _WORDS[part], len(recordings), _PUBLISHED[part], folder / part)
        store = open_store(f"dvsgesture-{_WORDS[part]}", recordings, read_recording, cache_root(), report)
        return self.source(store)


def _recordings(folder: Path) -> list[Recording]:
    belongs = f"The {_WORDS[folder.name]} recordings belong there, as user01_fluorescent/<class>.npy"
    if not folder.is_dir():
        raise UserError(f"{folder} is missing", belongs)
    found = []
    for path in sorted(folder.glob("*/*.npy")):
        if not path.stem.isascii() or not path.stem.isdecimal() or int(path.stem) >= _CLASSES:
            raise UserError(f"{path} is not named after its class", f"It must be 0.npy to {_CLASSES - 1}.npy")
        found.append(Recording(path, path.relative_to(folder.parent).as_posix(), int(path.stem)))
    if not found:
        raise UserError(f"{folder} holds no recording", belongs)
    return found


def _download(folder: Path, report: Reporter) -> None:
    from tonic import datasets

    fetch_with_tonic(
        "DVS Gesture",
        folder,
        {part: partial(datasets.DVSGesture, train=part == "ibmGestureTrain") for part in _PUBLISHED},
        (datasets.DVSGesture.train_url, datasets.DVSGesture.test_url),
        [f"{part}/user01_fluorescent/<class>.npy" for part in _PUBLISHED],
        report,
    )

"""Any classification set of tonic's that yields events, read through tonic and packed."""

from __future__ import annotations

import contextlib
import io
import math
import urllib.error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snnrun.cache import cache_root
from snnrun.data.dataset import Source
from snnrun.data.events import EventSource
from snnrun.data.recordings import CameraRecordings, coarser
from snnrun.data.report import Reporter
from snnrun.data.roots import data_root
from snnrun.data.splits import stratified_split
from snnrun.data.store import MOST_INPUTS, EventStore, Recording, open_store
from snnrun.data.tonic_download import failures_told, fetch_with_tonic
from snnrun.errors import UserError
from snnrun.registry import param, register

_TEST_SHARE = 0.1
_MEND = "Replace or delete it"
_OWN = {"NMNIST": "nmnist", "SHD": "shd", "SSC": "ssc", "DVSGesture": "dvsgesture"}


class _Known(NamedTuple):
    """What tonic does not say about a set in one way for all.

    Attributes:
        train, test: arguments of its class for the two parts; test is None where all recordings are one part.
        clock: "recording" where times count from the start of a recording; "camera" where they go on from one to the
            next, so that time zero is the first event.
    """

    classes: int
    train: Mapping[str, Any]
    test: Mapping[str, Any] | None
    clock: str


# Not here: NCALTECH101 (no common sensor size), SMNIST (events outside of its sensor), POKERDVS (its archive is not in
# tonic's wheel), and sets for other tasks (optical flow, tracking, places).
_SETS = {
    "ASLDVS": _Known(26, {}, None, "camera"),
    "CIFAR10DVS": _Known(10, {}, None, "camera"),
    "DVSLip": _Known(100, {"train": True}, {"train": False}, "camera"),
    "NTIDIGITS18": _Known(
        11, {"train": True, "single_digits": True}, {"train": False, "single_digits": True}, "recording"
    ),
}


@register("dataset", "tonic")
@dataclass
class TonicSet(CameraRecordings):
    """A data set by its name in tonic, below ``<root>/<which>`` in tonic's own layout.

    Attributes:
        which: name of the class in tonic.datasets.
        test_share: share of the recordings kept for the test, stratified, the same for every seed, where tonic has no
            test set; None: a tenth.
    """

    which: str | None = None
    test_share: float | None = param(None, gt=0, lt=1)

    @property
    def sensor(self) -> tuple[int, int, int]:
        width, height, polarities = self._kind().sensor_size
        return polarities, height, width

    @property
    def shape(self) -> tuple[int, ...]:
        polarities, height, width = super().shape
        return (width,) if polarities * height == 1 else (polarities, height, width)

    @property
    def outputs(self) -> int:
        return self._known.classes

    def check(self) -> None:
        if self.which in _OWN:
            raise UserError(f"tonic's {self.which} is a data set of its own here", f"Try dataset={_OWN[self.which]}")
        if self.which not in _SETS:
            what = "is not set" if self.which is None else f"is {self.which}, which does not fit"
            raise UserError(f"dataset.which {what}", f"Sets of tonic's that do: {', '.join(_SETS)}")
        super().check()
        if self._known.test is not None and self.test_share is not None:
            raise UserError(f"dataset.test_share is given, but {self.which} has a test set", "Leave it out")
        inputs = math.prod(self.shape)
        if inputs > MOST_INPUTS:
            what = f"{self.which} has {inputs:,} inputs, of which {MOST_INPUTS:,} can be packed"
            raise UserError(what, "Try dataset.downscale=2")

    def sources(self, seed: int, report: Reporter) -> tuple[Source, Source]:
        known = self._known
        train = self._open(known.train, report)
        if known.test is not None:
            test = self._open(known.test, report)
            return (
                self._packed("train", train, train.recordings(), report),
                self._packed("test", test, test.recordings(), report),
            )
        share = _TEST_SHARE if self.test_share is None else self.test_share
        for_training, for_test = cut(train.recordings(), share)
        return (
            self._packed("train", train, for_training, report),
            self._packed("test", train, for_test, report),
        )

    def source(self, store: EventStore) -> EventSource:
        return EventSource(store, self.shape, self.T, self.window_us)  # its pixels are coarser already

    @property
    def _known(self) -> _Known:
        assert self.which is not None
        return _SETS[self.which]

    def _kind(self) -> Any:
        from tonic import datasets

        return getattr(datasets, str(self.which))

    def _open(self, arguments: Mapping[str, Any], report: Reporter) -> _Opened:
        """Have tonic open a part, downloaded first where nothing is there yet."""
        which, kind = str(self.which), self._kind()
        folder = data_root(self.root) / which
        urls = [getattr(kind, "url", None) or kind.base_url]
        layout = [f"{kind.filename} and what it holds"]
        save = partial(_construct, kind, arguments)
        fetch_with_tonic(f"tonic's {which}", folder, {"": save}, urls, layout, report)
        with failures_told(f"all of tonic's {which}", folder, urls, layout):
            return _Opened(which, save(str(folder.parent)), self.sensor, self.downscale, self._known.clock)

    def _packed(self, part: str, opened: _Opened, recordings: Sequence[Recording], report: Reporter) -> EventSource:
        name = f"{self.which}-{part}-{self.downscale}"
        return self.source(open_store(name, recordings, opened.read, cache_root(), report))


def cut(recordings: Sequence[Recording], test_share: float) -> tuple[list[Recording], list[Recording]]:
    """Training and test recordings, the same for every seed."""
    labels = np.array([recording.label for recording in recordings])
    train, test = stratified_split(labels, np.arange(len(labels)), test_share, seed=0)
    return [recordings[index] for index in train], [recordings[index] for index in test]


def _construct(kind: Any, arguments: Mapping[str, Any], save_to: str) -> Any:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            return kind(save_to, **arguments)
    except SystemExit:  # what one of them does where it cannot download
        raise RuntimeError("tonic leaves its download to you") from None
    except OSError as error:
        if error.errno is not None or isinstance(error, urllib.error.URLError):
            raise
        raise RuntimeError(type(error).__name__) from None  # of requests, in which the reason lies layers deep


class _Opened:
    """A part of a set as tonic opens it.

    Args:
        data: tonic's data set: (events, class) by index.
        sensor: (polarities, height, width).
    """

    def __init__(self, which: str, data: Any, sensor: tuple[int, int, int], downscale: int, clock: str) -> None:
        self.which, self.data, self.sensor, self.clock = which, data, sensor, clock
        self.inputs = coarser(sensor, downscale)

    def recordings(self) -> list[Recording]:
        """All recordings, in the order of their files' names: tonic's own may depend on the file system."""
        folder, data = Path(self.data.location_on_system), self.data.data
        if not len(self.data):
            raise UserError(f"{folder} holds no recording", "Fill it, or delete it to have it downloaded")
        if isinstance(data, list):
            paths = [Path(path) for path in data]
            found = [
                Recording(path, f"{self.which}/{path.relative_to(folder).as_posix()}", int(label), (index,))
                for index, (path, label) in enumerate(zip(paths, self.data.targets, strict=True))
            ]
            return sorted(found, key=lambda recording: recording.name)
        path = folder / self.data.filename
        labels = [int(self.data[index][1]) for index in range(len(self.data))]
        return [Recording(path, f"{self.which}/{index}", label, (index,)) for index, label in enumerate(labels)]

    def read(self, path: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One recording: address, uint16 [events], and microseconds, uint32 [events].

        Raises:
            UserError: it cannot be read, or has an event outside of the sensor.
        """
        where = f"recording {index} of {path}"
        try:
            events, _ = self.data[index]
        except ImportError as error:
            raise UserError(f"tonic's {self.which} needs {error.name}", f"Try pip install {error.name}") from None
        except Exception as error:  # each set has a reader of its own
            raise UserError(f"{where} cannot be read ({type(error).__name__}: {error})", _MEND) from None
        if not len(events):
            raise UserError(f"{where} holds no event", _MEND)
        polarities, height, width = self.sensor
        names = events.dtype.names
        t, x = (events[name].astype(np.int64).ravel() for name in ("t", "x"))
        y = events["y"].astype(np.int64).ravel() if "y" in names else np.zeros_like(x)
        p = events["p"].astype(np.int64).ravel() if polarities > 1 else np.zeros_like(x)
        outside = np.flatnonzero((x < 0) | (x >= width) | (y < 0) | (y >= height) | (p < 0) | (p >= polarities))
        if len(outside):
            event = f"x={x[outside[0]]}, y={y[outside[0]]}, p={p[outside[0]]}"
            raise UserError(f"{where} has an event at {event}, outside of {width}x{height}x{polarities}", _MEND)
        time_us = t - t.min() if self.clock == "camera" else t
        if time_us.min() < 0 or time_us.max() >= 2**32:
            raise UserError(f"{where} has an event before time zero, or more than an hour after it", _MEND)
        address = (p * height + y) * width + x
        address = address if self.inputs is None else self.inputs[address]
        return address.astype(np.uint16), time_us.astype(np.uint32)

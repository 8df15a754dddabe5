"""The packed event store: all recordings in one flat, memory-mapped file, 6 bytes an event.

A store is a folder: ``address.u16`` and ``time_us.u32`` hold all events one recording after the other, ``offsets.npy``
where each recording starts, ``labels.npy`` the classes, ``meta.json`` the sizes and a hash of the content.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock

from snnrun.atomic import sync
from snnrun.data.report import Reporter
from snnrun.errors import UserError

_FORMAT = 1
_ADDRESS, _TIME = np.dtype("<u2"), np.dtype("<u4")
MOST_INPUTS = 1 << 16  # that addresses can tell apart

# A file (and the recording's place in it) -> addresses uint16, times in us uint32; raises UserError where the file is
# unreadable or damaged.
Reader = Callable[..., tuple[np.ndarray, np.ndarray]]


class Recording(NamedTuple):
    """One recording to pack.

    Attributes:
        name: within the data set, part of the store's key.
        place: in a file of many recordings, its index; what the reader is given beside the path.
    """

    path: Path
    name: str
    label: int
    place: tuple[int, ...] = ()


@dataclass(frozen=True)
class EventStore:
    """Memory-mapped events of many recordings.

    Attributes:
        address: input index of every event, uint16 [events].
        time_us: microseconds from the recording's own time zero, uint32 [events].
        offsets: recording i holds events offsets[i] to offsets[i + 1], int64 [n + 1].
        labels: int64 [n].
        content_hash: of events and labels, equal wherever the same recordings are packed.
    """

    address: np.ndarray
    time_us: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    content_hash: str


def open_store(name: str, recordings: Sequence[Recording], read: Reader, cache: Path, report: Reporter) -> EventStore:
    """The store of these recordings, packed first if there is none yet.

    Args:
        name: of the data set and part, for people who look into the cache.
        read: turns a file into events.
        cache: folder of all stores.

    Raises:
        UserError: a recording is damaged, or the cache cannot be written.
    """
    key = _key(recordings, read)
    folder = cache / "packed" / f"{name}-{key}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        store = _open(folder)
        if store is not None:
            return store
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            store = _open(folder)  # another process may have packed it while we waited
            if store is None:
                _remove_leftovers(folder)
                _pack(folder, name, recordings, read, report)
                store = _open(folder)
    except OSError as error:
        raise UserError(
            f"the packed copy of {name} cannot be written to {folder.parent} ({error.strerror or error})",
            "Set SNNRUN_CACHE to a folder with space",
        ) from None
    if store is None:
        raise UserError(f"the packed copy of {name} in {folder} was changed while it was read", "Start again")
    return store


def _key(recordings: Sequence[Recording], read: Reader) -> str:
    """Everything the store depends on: format, reader, and every file's name, class, size and time of change."""
    digest = hashlib.sha256(f"{_FORMAT} {read.__module__}.{read.__qualname__}".encode())
    for recording in recordings:
        try:
            status = recording.path.stat()
        except OSError as error:
            raise UserError(f"{recording.path} cannot be read ({error.strerror})", "Replace or delete it") from None
        digest.update(f"\n{recording.name} {recording.label} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:20]


def _open(folder: Path) -> EventStore | None:
    """A whole store, or None where it is missing or its sizes are not those it was written with."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        offsets, labels = np.load(folder / "offsets.npy"), np.load(folder / "labels.npy")
        events = int(meta["events"])
        sizes = [(folder / name).stat().st_size for name in ("address.u16", "time_us.u32")]
        whole = sizes == [events * _ADDRESS.itemsize, events * _TIME.itemsize]
        whole = whole and len(offsets) == len(labels) + 1 == meta["recordings"] + 1 and offsets[-1] == events
        if not whole or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            return None
        address = np.memmap(folder / "address.u16", _ADDRESS, "r", shape=(events,))
        time_us = np.memmap(folder / "time_us.u32", _TIME, "r", shape=(events,))
        return EventStore(address, time_us, offsets, labels, str(meta["content_hash"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _pack(folder: Path, name: str, recordings: Sequence[Recording], read: Reader, report: Reporter) -> None:
    """Stream all recordings into a temporary folder and rename it; memory does not grow with their number."""
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    offsets = np.zeros(len(recordings) + 1, dtype=np.int64)
    digest = hashlib.sha256()
    try:
        with (
            (temporary / "address.u16").open("wb") as addresses,
            (temporary / "time_us.u32").open("wb") as times,
            report.progress(f"packing {name}", len(recordings), "recordings") as advance,
        ):
            for index, recording in enumerate(recordings):
                address, time_us = read(recording.path, *recording.place)
                for values, kind, file in ((address, _ADDRESS, addresses), (time_us, _TIME, times)):
                    packed = values.astype(kind, copy=False).tobytes()
                    digest.update(packed)
                    file.write(packed)
                digest.update(f"{recording.label} {len(address)}\n".encode())
                offsets[index + 1] = offsets[index] + len(address)
                advance(1)
        np.save(temporary / "offsets.npy", offsets)
        np.save(temporary / "labels.npy", np.array([recording.label for recording in recordings], dtype=np.int64))
        meta = {"events": int(offsets[-1]), "recordings": len(recordings), "content_hash": digest.hexdigest()}
        (temporary / "meta.json").write_text(json.dumps(meta))
        for path in (*temporary.iterdir(), temporary):  # a power cut must not leave a whole folder of empty files
            sync(path)
        temporary.replace(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """What a killed builder left, and a damaged store; only under the lock, so nobody is still writing it."""
    for leftover in folder.parent.glob(f"{folder.name}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)

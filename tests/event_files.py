"""Small event data sets in the formats in which they were published, and where tonic looks for them."""

from pathlib import Path

import h5py
import numpy as np

from snnrun.data import Quiet


class Notes(Quiet):
    """Keeps what was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def write_speech(root: Path, folder: str, recordings: dict[str, int], classes: int) -> Path:
    """HDF5 files as published: seconds in float16, channels in uint16, labels; a class fires in channels of its own."""
    rng = np.random.default_rng(0)
    target = root / folder
    target.mkdir(parents=True)
    for part, size in recordings.items():
        labels = np.arange(size) % classes
        with h5py.File(target / f"{folder.lower()}_{part}.h5", "w") as file:
            times = file.create_dataset("spikes/times", (size,), h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (size,), h5py.vlen_dtype(np.uint16))
            for index, label in enumerate(labels):
                events = int(rng.integers(60, 90))
                times[index] = np.sort(rng.random(events)).astype(np.float16)
                units[index] = (label * (700 // classes) + rng.integers(0, 700 // classes, events)).astype(np.uint16)
            file["labels"] = labels
            file["extra/keys"] = [f"class {index}".encode() for index in range(classes)]
            file["extra/speaker"] = np.zeros(size, dtype=np.uint16)
        (target / f"{folder.lower()}_{part}.h5.zip").touch()  # tonic wants the archive beside it
    return target


def write_gestures(root: Path, users: int = 10) -> Path:
    """Arrays (x, y, polarity, milliseconds) as tonic publishes them; a class moves in a row of its own."""
    rng = np.random.default_rng(0)
    target = root / "DVSGesture"
    for part, first in (("ibmGestureTrain", 1), ("ibmGestureTest", 101)):
        for user in range(first, first + users):
            folder = target / part / f"user{user:02}_fluorescent"
            folder.mkdir(parents=True)
            for label in range(11):
                events = int(rng.integers(60, 90))
                x, y = rng.integers(0, 128, events), 11 * label + rng.integers(0, 11, events)
                time_ms = 500 + np.sort(rng.integers(0, 1500, events))
                np.save(folder / f"{label}.npy", np.stack([x, y, rng.integers(0, 2, events), time_ms], axis=1))
        (target / f"{part}.tar.gz").touch()
    return target

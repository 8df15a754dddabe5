"""The packed event store and the spikes that come out of it."""

import hashlib
import json
import math
import multiprocessing
import os
import signal
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snnrun.data import Quiet
from snnrun.data.events import EventSource
from snnrun.data.store import EventStore, Recording, open_store
from snnrun.errors import UserError
from snnrun.snn import Events

SHAPE = (2, 3, 4)
FORK = multiprocessing.get_context("fork")


def write(folder: Path, events: list[list[tuple[int, int]]]) -> list[Recording]:
    """One file per recording of (address, microseconds); classes 0, 1, 2, 0 ..."""
    folder.mkdir(parents=True, exist_ok=True)
    recordings = []
    for index, recording in enumerate(events):
        path = folder / f"{index:05}.npy"
        np.save(path, np.array(recording, dtype=np.int64).reshape(-1, 2))
        recordings.append(Recording(path, path.name, index % 3))
    return recordings


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    address, time_us = np.load(path).T
    return address.astype(np.uint16), time_us.astype(np.uint32)


def read_slowly(path: Path) -> tuple[np.ndarray, np.ndarray]:
    time.sleep(0.02)
    return read(path)


def drawn(recordings: int, events: int = 200, seed: int = 0) -> list[list[tuple[int, int]]]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, events, recordings)
    return [list(zip(rng.integers(0, math.prod(SHAPE), n), rng.integers(0, 12_000, n), strict=True)) for n in counts]


def pack(folder: Path, cache: Path, events: list[list[tuple[int, int]]]) -> EventStore:
    return open_store("toy", write(folder, events), read, cache, Quiet())


def folders(cache: Path) -> list[str]:
    """What the cache holds but for locks."""
    return sorted(path.name for path in (cache / "packed").iterdir() if path.suffix != ".lock")


class Counts(Quiet):
    """Counts the recordings that were packed."""

    def __init__(self) -> None:
        self.packed = 0

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Any]:
        def advance(amount: int) -> None:
            self.packed += amount

        yield advance


def test_a_store_holds_every_event_in_six_bytes(tmp_path: Path) -> None:
    events = drawn(7)
    store = pack(tmp_path / "data", tmp_path / "cache", events)
    assert store.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    for index, recording in enumerate(events):
        part = slice(store.offsets[index], store.offsets[index + 1])
        assert list(zip(store.address[part], store.time_us[part], strict=True)) == recording
    (folder,) = folders(tmp_path / "cache")
    files = (tmp_path / "cache" / "packed" / folder).iterdir()
    bulk = sum(path.stat().st_size for path in files if path.suffix in (".u16", ".u32"))
    assert bulk == 6 * sum(map(len, events))


def test_a_store_is_packed_once(tmp_path: Path) -> None:
    recordings, report = write(tmp_path / "data", drawn(5)), Counts()
    first = open_store("toy", recordings, read, tmp_path / "cache", report)
    again = open_store("toy", recordings, read, tmp_path / "cache", report)
    assert report.packed == 5
    assert again.content_hash == first.content_hash
    np.testing.assert_array_equal(again.address, first.address)


def test_content_hash_depends_on_events_and_boundaries_not_on_place(tmp_path: Path) -> None:
    events = drawn(4)
    here = pack(tmp_path / "a", tmp_path / "cache", events)
    there = pack(tmp_path / "b", tmp_path / "other_cache", events)
    changed = pack(tmp_path / "c", tmp_path / "cache", [*events[:3], [(0, 1)]])
    assert here.content_hash == there.content_hash
    assert here.content_hash != changed.content_hash


@pytest.mark.parametrize("change", ["content", "time", "name", "label", "fewer"])
def test_a_change_of_the_recordings_makes_another_store(tmp_path: Path, change: str) -> None:
    recordings, report = write(tmp_path / "data", drawn(4)), Counts()
    open_store("toy", recordings, read, tmp_path / "cache", report)
    last = recordings[-1]
    if change == "content":
        write(tmp_path / "data", [*drawn(3), [(1, 2)]])
    elif change == "time":
        os.utime(last.path, ns=(0, last.path.stat().st_mtime_ns + 1))
    elif change == "name":
        recordings[-1] = last._replace(name="other")
    elif change == "label":
        recordings[-1] = last._replace(label=9)
    else:
        recordings.pop()
    store = open_store("toy", recordings, read, tmp_path / "cache", report)
    assert report.packed == 4 + len(recordings)
    assert len(store.labels) == len(recordings)
    assert len(folders(tmp_path / "cache")) == 2


@pytest.mark.parametrize("damage", ["short", "long", "missing", "meta", "no meta", "offsets", "labels"])
def test_a_damaged_store_is_packed_again(tmp_path: Path, damage: str) -> None:
    recordings, report = write(tmp_path / "data", drawn(4)), Counts()
    whole = open_store("toy", recordings, read, tmp_path / "cache", report)
    expected = np.array(whole.address)
    (name,) = folders(tmp_path / "cache")
    folder = tmp_path / "cache" / "packed" / name
    if damage == "short":
        os.truncate(folder / "time_us.u32", 8)
    elif damage == "long":
        (folder / "address.u16").write_bytes((folder / "address.u16").read_bytes() + b"xx")
    elif damage == "missing":
        (folder / "address.u16").unlink()
    elif damage == "meta":
        (folder / "meta.json").write_text('{"events": ')
    elif damage == "no meta":
        (folder / "meta.json").unlink()
    elif damage == "offsets":
        os.truncate(folder / "offsets.npy", 100)
    else:
        np.save(folder / "labels.npy", np.zeros(2, dtype=np.int64))
    again = open_store("toy", recordings, read, tmp_path / "cache", report)
    assert report.packed == 8
    np.testing.assert_array_equal(again.address, expected)
    assert folders(tmp_path / "cache") == [name]


def test_a_recording_that_cannot_be_read_leaves_no_store(tmp_path: Path) -> None:
    def refuse(path: Path) -> tuple[np.ndarray, np.ndarray]:
        if path.name == "00002.npy":
            raise UserError(f"{path} is damaged")
        return read(path)

    recordings = write(tmp_path / "data", drawn(4))
    with pytest.raises(UserError, match=r"00002\.npy is damaged"):
        open_store("toy", recordings, refuse, tmp_path / "cache", Quiet())
    assert folders(tmp_path / "cache") == []


def test_a_recording_that_is_gone_is_named(tmp_path: Path) -> None:
    recordings = write(tmp_path / "data", drawn(4))
    recordings[1].path.unlink()
    with pytest.raises(UserError, match=r"00001\.npy cannot be read"):
        open_store("toy", recordings, read, tmp_path / "cache", Quiet())


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(path: Path) -> tuple[np.ndarray, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_store("toy", write(tmp_path / "data", drawn(2)), interrupt, tmp_path / "cache", Quiet())
    assert folders(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the folder's place")
    with pytest.raises(UserError, match="SNNRUN_CACHE"):
        open_store("toy", write(tmp_path / "data", drawn(2)), read, tmp_path / "cache", Quiet())


def test_the_next_builder_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    recordings, cache = write(tmp_path / "data", drawn(60, events=5)), tmp_path / "cache"
    builder = FORK.Process(target=open_store, args=("toy", recordings, read_slowly, cache, Quiet()))
    builder.start()
    deadline = time.monotonic() + 30
    while not list(cache.glob("packed/*.tmp/*.u16")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert builder.pid is not None
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    assert len(folders(cache)) == 1
    assert folders(cache)[0].endswith(".tmp")
    # The key names the reader, so the same store needs the same reader; it is slow, and that is fine for once.
    store = open_store("toy", recordings, read_slowly, cache, Quiet())
    assert len(store.labels) == 60
    assert not folders(cache)[0].endswith(".tmp")
    assert len(folders(cache)) == 1


def _pack_and_count(recordings: list[Recording], cache: Path, results: Any) -> None:
    report = Counts()
    store = open_store("toy", recordings, read_slowly, cache, report)
    results.put((report.packed, store.content_hash))


def test_two_processes_pack_once(tmp_path: Path) -> None:
    recordings, results = write(tmp_path / "data", drawn(20)), FORK.Queue()
    processes = [FORK.Process(target=_pack_and_count, args=(recordings, tmp_path / "cache", results)) for _ in "ab"]
    for process in processes:
        process.start()
    (packed_a, hash_a), (packed_b, hash_b) = (results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert sorted((packed_a, packed_b)) == [0, 20]
    assert hash_a == hash_b
    assert len(folders(tmp_path / "cache")) == 1


def test_memory_of_packing_does_not_grow_with_the_recordings(tmp_path: Path) -> None:
    address, time_us = np.zeros(100_000, dtype=np.uint16), np.zeros(100_000, dtype=np.uint32)  # 0.6 MB
    (source,) = write(tmp_path / "data", [[(0, 0)]])

    def peak(recordings: int) -> int:
        many = [source._replace(name=str(index)) for index in range(recordings)]
        tracemalloc.start()
        open_store(f"toy{recordings}", many, lambda path: (address, time_us), tmp_path / "cache", Quiet())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)  # what is made once for all (imports, caches) counts for nobody
    assert peak(40) < peak(4) + 200_000


def naive(events: list[tuple[int, int]], T: int, window_us: int) -> np.ndarray:
    """Spikes [T, *SHAPE] of one recording, an event at a time."""
    spikes = np.zeros((T, math.prod(SHAPE)), dtype=np.float32)
    for address, time_us in events:
        step = int(time_us) * T // window_us
        if step < T:
            spikes[step, address] = 1
    return spikes.reshape(T, *SHAPE)


@pytest.mark.parametrize(("T", "window_us"), [(1, 10_000), (7, 10_000), (100, 9_999), (300, 20_000), (10, 3)])
def test_binning_equals_a_loop_over_events(tmp_path: Path, T: int, window_us: int) -> None:
    events = drawn(9, seed=3)
    source = EventSource(pack(tmp_path / "data", tmp_path / "cache", events), SHAPE, T, window_us)
    indices = np.array([8, 0, 3, 3])
    spikes = source.spikes(indices).dense()
    assert spikes.shape == (T, 4, *SHAPE)
    assert spikes.dtype.is_floating_point
    for position, index in enumerate(indices):
        np.testing.assert_array_equal(spikes[:, position], naive(events[index], T, window_us))
    targets = source.targets(indices)
    assert targets.label is not None
    assert targets.label.tolist() == [2, 0, 0, 0]


def test_edges_of_steps_and_window(tmp_path: Path) -> None:
    # Steps of 1000 us: 999 is the last of step 0, 1000 the first of step 1; 3000 is past the window of three steps.
    events = [[(0, 0), (1, 999), (2, 1000), (2, 1999), (3, 2999), (4, 3000), (5, 4_000_000_000)]]
    source = EventSource(pack(tmp_path / "data", tmp_path / "cache", events), SHAPE, T=3, window_us=3000)
    assert source.spikes(np.array([0])).dense().reshape(3, -1).nonzero().tolist() == [[0, 0], [0, 1], [1, 2], [2, 3]]


def test_events_are_in_order_and_each_once(tmp_path: Path) -> None:
    store = pack(tmp_path / "data", tmp_path / "cache", drawn(6, seed=5))
    source = EventSource(store, SHAPE, T=10, window_us=10_000)
    indices = np.array([5, 2, 4])
    events = source.spikes(indices)
    assert (events.T, events.batch_size, events.shape) == (10, 3, SHAPE)
    sample, step, address = events.dense().reshape(10, 3, -1).permute(1, 0, 2).nonzero().T
    np.testing.assert_array_equal(torch.stack(events.where()), torch.stack([sample, step]))
    np.testing.assert_array_equal(events.address, address)
    again = Events.from_dense(events.dense())
    assert again.address.equal(events.address)
    assert again.offsets.equal(events.offsets)
    assert source.spikes(indices[:0]).address.numel() == 0


def test_meta_records_the_content_hash(tmp_path: Path) -> None:
    store = pack(tmp_path / "data", tmp_path / "cache", [[(1, 2), (3, 4)], [(5, 6)]])
    digest = hashlib.sha256()
    digest.update(np.array([1, 3], "<u2").tobytes() + np.array([2, 4], "<u4").tobytes() + b"0 2\n")
    digest.update(np.array([5], "<u2").tobytes() + np.array([6], "<u4").tobytes() + b"1 1\n")
    (name,) = folders(tmp_path / "cache")
    meta = json.loads((tmp_path / "cache" / "packed" / name / "meta.json").read_text())
    assert meta == {"events": 3, "recordings": 2, "content_hash": digest.hexdigest()}
    assert EventSource(store, SHAPE, 10, 100).fingerprint() == digest.hexdigest()

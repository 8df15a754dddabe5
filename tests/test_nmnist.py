"""N-MNIST: the reader against tonic's, folders that lack something, and the download."""

import hashlib
import shutil
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from cli import SECONDS, run_dirs, snnrun, summary
from kills import popen, results

from snnrun.data import Quiet
from snnrun.data.nmnist import NMNIST, read_recording
from snnrun.data.splits import folds
from snnrun.errors import UserError


class Notes(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def packed(*events: tuple[int, int, int, int]) -> bytes:
    """Events (x, y, polarity, microseconds) as published: x, y, polarity bit and 23 bits of time, big-endian."""
    return b"".join(bytes((x, y)) + (polarity << 23 | time_us).to_bytes(3, "big") for x, y, polarity, time_us in events)


def write(folder: Path, per_digit: int = 2) -> Path:
    """A small data set; recording n of digit d has one event at x=d, y=n."""
    for part in ("Train", "Test"):
        for digit in range(10):
            (folder / part / str(digit)).mkdir(parents=True)
            for number in range(per_digit):
                content = packed((digit, number, 1, 1000 * number))
                (folder / part / str(digit) / f"{number:05}.bin").write_bytes(content)
    return folder


def test_one_recording_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(packed((1, 2, 0, 5), (33, 33, 1, 70_000), (0, 0, 1, 0x7FFFFF)))
    address, time_us = read_recording(path)
    assert address.dtype == np.uint16
    assert time_us.dtype == np.uint32
    assert address.tolist() == [2 * 34 + 1, (34 + 33) * 34 + 33, 34 * 34]
    assert time_us.tolist() == [5, 70_000, 0x7FFFFF]


def test_overflow_events_move_the_clock_and_vanish(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(packed((1, 1, 0, 5), (0, 240, 0, 0), (99, 240, 1, 7), (2, 1, 0, 6)))
    address, time_us = read_recording(path)
    assert address.tolist() == [35, 36]
    assert time_us.tolist() == [5, 6 + 2 * 8192]


def tonic_events(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from tonic import datasets, io

    events = io.read_mnist_file(str(path), dtype=datasets.NMNIST.dtype)
    return (events["p"] * 34 + events["y"]) * 34 + events["x"], events["t"]


def test_the_reader_equals_tonics_on_real_recordings(shared_data: Path) -> None:
    paths = sorted((shared_data / "NMNIST").glob("*/*/*.bin"))
    assert len(paths) == 800
    for path in paths:
        for ours, theirs in zip(read_recording(path), tonic_events(path), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=str(path))


def test_the_reader_equals_tonics_with_overflows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.where(rng.random(500) < 0.1, 240, rng.integers(0, 34, 500))
    x, polarity, time_us = rng.integers(0, 34, 500), rng.integers(0, 2, 500), rng.integers(0, 1 << 23, 500)
    path = tmp_path / "a.bin"
    path.write_bytes(packed(*zip(*(values.tolist() for values in (x, y, polarity, time_us)), strict=True)))
    for ours, theirs in zip(read_recording(path), tonic_events(path), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (packed((1, 1, 0, 5))[:-1], "4 bytes"),
        (b"", "no event"),
        (packed((0, 240, 0, 0)), "no event"),
        (packed((1, 1, 0, 5), (34, 2, 0, 6)), "x=34, y=2"),
        (packed((1, 1, 0, 5), (2, 34, 0, 6)), "x=2, y=34"),
        (packed((33, 239, 0, 6)), "y=239"),
    ],
)
def test_a_damaged_recording_is_named(tmp_path: Path, cache: Path, content: bytes, says: str) -> None:
    path = write(tmp_path / "NMNIST") / "Train" / "3" / "00001.bin"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        NMNIST(root=str(tmp_path)).load(0, Quiet())
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_a_recording_that_cannot_be_read_is_named_not_the_cache(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "NMNIST") / "Train" / "3" / "00001.bin"
    path.unlink()
    path.mkdir()  # as root no file is unreadable
    with pytest.raises(UserError, match=r"00001\.bin is not a file"):
        NMNIST(root=str(tmp_path)).load(0, Quiet())


def test_fewer_recordings_than_published_are_used_with_a_note(tmp_path: Path, cache: Path) -> None:
    folder, report = write(tmp_path / "NMNIST", per_digit=4), Notes()
    data = NMNIST(root=str(tmp_path), T=30).load(0, report)
    assert (len(data.train), len(data.val), len(data.test)) == (36, 4, 40)
    assert report.notes == [
        f"N-MNIST: 40 of 60,000 training recordings found in {folder / 'Train'}, using these",
        f"N-MNIST: 40 of 10,000 test recordings found in {folder / 'Test'}, using these",
    ]
    # Recording 14 is number 2 of digit 3: one event at x=3, y=2, positive, at 2 ms of 300 in 30 steps.
    spikes = data.train.source.spikes(np.array([14])).dense()
    assert spikes.shape == (30, 1, 2, 34, 34)
    assert spikes.nonzero().tolist() == [[0, 0, 1, 2, 3]]


@pytest.mark.parametrize("missing", ["Train", "Test", "Train/7", "Test/0"])
def test_a_missing_folder_is_named(tmp_path: Path, cache: Path, missing: str) -> None:
    shutil.rmtree(write(tmp_path / "NMNIST") / missing)
    with pytest.raises(UserError, match=rf"{missing} is missing"):
        NMNIST(root=str(tmp_path)).load(0, Quiet())


def test_an_empty_class_is_named(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "NMNIST") / "Test" / "5"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"Test/5 holds no \.bin file"):
        NMNIST(root=str(tmp_path)).load(0, Quiet())


def test_five_folds_share_out_all_recordings(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "NMNIST", per_digit=3)
    tested: list[int] = []
    for fold in range(5):
        data = NMNIST(root=str(tmp_path), fold=fold, val_share=0.25).load(0, Quiet())
        assert (len(data.train), len(data.val), len(data.test)) == (36, 12, 12)
        parts = [set(part.indices.tolist()) for part in (data.train, data.val, data.test)]
        assert len(set.union(*parts)) == 60
        tested += parts[2]
    assert sorted(tested) == list(range(60))
    first, again, other = (
        NMNIST(root=str(tmp_path), fold=1, split_seed=seed).load(0, Quiet()).hash for seed in (0, 0, 1)
    )
    assert first == again != other


def test_folds_are_balanced_in_size_and_class() -> None:
    labels = np.repeat([0, 1, 2, 7], [13, 4, 9, 11])
    fold = folds(labels, 5, seed=3)
    assert np.ptp(np.bincount(fold, minlength=5)) <= 1
    for label in np.unique(labels):
        assert np.ptp(np.bincount(fold[labels == label], minlength=5)) <= 1


def test_real_recordings(shared_data: Path, cache: Path) -> None:
    before = sorted(path.name for path in (shared_data / "NMNIST").iterdir())
    data = NMNIST(root=str(shared_data), T=100).load(0, Quiet())
    assert (len(data.train) + len(data.val), len(data.test)) == (700, 100)
    spikes = data.train.source.spikes(data.train.indices[:8]).dense()
    assert spikes.shape == (100, 8, 2, 34, 34)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert 2000 < spikes.sum() / 8 < 6000
    again = NMNIST(root=str(shared_data), T=50, window_ms=100).load(3, Quiet())
    assert again.hash == data.hash
    assert sorted(path.name for path in (shared_data / "NMNIST").iterdir()) == before


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served in the publisher's place, holding train.zip and test.zip of a small data set."""
    from tonic import datasets

    served = tmp_path / "served"
    source = write(served / "source")
    for part in ("Train", "Test"):
        with zipfile.ZipFile(served / f"{part.lower()}.zip", "w") as archive:
            for path in sorted((source / part).rglob("*.bin")):
                archive.write(path, path.relative_to(source))

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        for part in ("train", "test"):
            digest = hashlib.md5((served / f"{part}.zip").read_bytes()).hexdigest()
            monkeypatch.setattr(datasets.NMNIST, f"{part}_url", f"http://127.0.0.1:{running.server_port}/{part}.zip")
            monkeypatch.setattr(datasets.NMNIST, f"{part}_md5", digest)
        yield served
        running.shutdown()
        thread.join()


def data_folder(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.suffix != ".lock")


def test_absent_recordings_are_downloaded_through_tonic(tmp_path: Path, published: Path, cache: Path) -> None:
    root = tmp_path / "root"
    (root / "NMNIST.part").mkdir(parents=True)  # of a run that was killed
    data = NMNIST(root=str(root)).load(0, Quiet())
    assert len(data.train) + len(data.val) == len(data.test) == 20
    assert data_folder(root) == ["NMNIST"]
    assert data_folder(root / "NMNIST") == ["Test", "Train"]


@pytest.mark.parametrize("damage", ["absent", "another"])
def test_a_download_that_fails_half_way_leaves_nothing(
    tmp_path: Path, published: Path, cache: Path, damage: str
) -> None:
    if damage == "absent":
        (published / "test.zip").unlink()
    else:
        (published / "test.zip").write_bytes(b"not what was published")
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(UserError) as caught:
        NMNIST(root=str(root)).load(0, Quiet())
    message = str(caught.value)
    assert "test.zip" in message
    assert f"{root}/NMNIST/Train/<digit>/NUMBER.bin" in message
    assert data_folder(root) == []


def test_offline_names_url_folder_and_layout(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonic import datasets

    monkeypatch.setattr(datasets.NMNIST, "train_url", "http://127.0.0.1:1/train.zip")
    with pytest.raises(UserError) as caught:
        NMNIST(root=str(tmp_path)).load(0, Quiet())
    message = str(caught.value)
    assert "http://127.0.0.1:1/train.zip" in message
    assert f"{tmp_path}/NMNIST/Train/<digit>/NUMBER.bin" in message
    assert data_folder(tmp_path) == []


@pytest.mark.slow
def test_two_runs_in_the_same_second_share_what_neither_has_packed(
    shared_data: Path, tmp_path: Path, cache: Path
) -> None:
    arguments = ("debug=fast", "dataset=nmnist", f"dataset.root={shared_data}", "dataset.T=20", "logger=none")
    arguments += ("trainer.threads=1", "model.layers=fc32-out")
    both = [popen(*arguments, cwd=tmp_path, SNNRUN_CACHE=str(cache)) for _ in range(2)]
    outputs = ["".join(process.communicate(timeout=SECONDS)) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    first, second = run_dirs(tmp_path)
    assert results(first) == results(second)
    content = summary(first)
    packed = [path for path in (cache / "packed").iterdir() if path.is_dir()]
    assert len(packed) == 2  # training and test
    assert sum(output.count("packing nmnist") for output in outputs) == 2 * 2  # each once: a line at start and end
    # and a third, alone, into a cache of its own
    snnrun(*arguments, "hydra.run.dir=alone", cwd=tmp_path, check=True, SNNRUN_CACHE=str(tmp_path / "other"))
    assert summary(tmp_path / "alone")["data"] == content["data"]
    assert results(tmp_path / "alone") == results(first)

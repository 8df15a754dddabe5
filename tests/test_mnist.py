"""The published MNIST files, what is loaded when, and the folders that data is looked for in."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snnrun.cache import cache_root
from snnrun.data import Quiet, batches
from snnrun.data.codings import CodedImages
from snnrun.data.digits import Digits
from snnrun.data.mnist import MNIST
from snnrun.data.roots import data_root
from snnrun.errors import UserError


class Notes(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_published_files_are_read_without_a_note(shared_data: Path) -> None:
    report = Notes()
    data = MNIST(root=str(shared_data)).load(0, report)
    assert report.notes == []
    assert (len(data.train), len(data.val), len(data.test)) == (54_000, 6_000, 10_000)
    spikes = data.test.source.spikes(np.arange(4)).dense()
    assert spikes.shape == (100, 4, 1, 28, 28)
    label = data.test.source.targets(np.arange(4)).label
    assert label is not None
    assert label.tolist() == [7, 2, 1, 0]


def test_an_unpacked_file_goes_before_its_gz(shared_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (shared_data / "MNIST" / "raw").iterdir():
        (raw / path.name).symlink_to(path)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01\x00\x00\x00\x01\x05")
    with pytest.raises(UserError, match="1 labels for 10000 images"):
        MNIST(root=str(tmp_path)).load(0, Quiet())


def test_latency_by_hand_in_spikes() -> None:
    # 24 (255 - k) // 255 for k = 255, 170, 85, 1; k = 0 never. Wide pixels take the same way.
    for kind in (np.uint8, np.uint16):
        pixels = np.array([[255, 170, 85, 1, 0]], dtype=kind)
        spikes = CodedImages(pixels, np.zeros(1, np.int64), k_max=255, T=25).spikes(np.array([0])).dense()
        assert spikes[:, 0].nonzero().tolist() == [[0, 0], [8, 1], [16, 2], [23, 3]]


def test_the_fingerprint_is_of_the_content_not_the_coding() -> None:
    pixels, labels = np.arange(8, dtype=np.uint8).reshape(2, 4), np.array([0, 1])
    plain = CodedImages(pixels, labels, 16, 30).fingerprint()
    assert CodedImages(pixels, labels, 16, 60, coding="rate", seed=3).fingerprint() == plain
    assert CodedImages(pixels + 1, labels, 16, 30).fingerprint() != plain
    assert CodedImages(pixels, labels[::-1], 16, 30).fingerprint() != plain


@pytest.mark.parametrize("coding", ["latency", "rate"])
def test_workers_change_no_spike(coding: str) -> None:
    split = Digits(coding=coding, limit_val=21).load(0, Quiet()).val
    alone, helped = (list(batches(split, 8, workers)) for workers in (0, 2))
    assert [batch.size for batch in alone] == [8, 8, 5]
    for one, other in zip(alone, helped, strict=True):
        assert one.spikes.dense().equal(other.spikes.dense())
        assert one.targets.label is not None
        assert other.targets.label is not None
        assert one.targets.label.equal(other.targets.label)


def test_the_last_input_step_must_lie_inside() -> None:
    Digits(T=33, t_last=32).check()
    Digits(T=5, t_last=32, coding="rate").check()
    with pytest.raises(UserError, match=r"dataset\.T=32.*dataset\.t_last=32"):
        Digits(T=32, t_last=32).check()


def test_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SNNRUN_DATA", "SNNRUN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert data_root(None) == cache_root() == tmp_path / ".cache" / "snnrun"
    monkeypatch.setenv("SNNRUN_DATA", "~/data")
    monkeypatch.setenv("SNNRUN_CACHE", "~/packed")
    assert data_root(None) == tmp_path / "data"
    assert cache_root() == tmp_path / "packed"
    with pytest.raises(UserError, match=r"dataset\.root=~/other does not exist"):
        data_root("~/other")
    (tmp_path / "other").mkdir()
    assert data_root("~/other") == tmp_path / "other"


def test_importing_data_loads_neither_sklearn_nor_tonic() -> None:
    code = "import sys, snnrun.data; print(sorted({'sklearn', 'tonic', 'matplotlib', 'wandb'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Codings, IDX files, splits, digits and Yin-Yang."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrun.data import Quiet
from snnrun.data.codings import CodedImages, latency_table, rate_spikes
from snnrun.data.digits import Digits
from snnrun.data.idx import parse_idx
from snnrun.data.mnist import MNIST, FashionMNIST, IdxImages
from snnrun.data.splits import stratified_sample, stratified_split
from snnrun.data.yinyang import YinYang, classify, generate
from snnrun.errors import UserError


def test_latency_of_mnist_pixels_in_integers() -> None:
    table = latency_table(255, 24)
    assert table[[0, 1, 85, 170, 255]].tolist() == [-1, 23, 16, 8, 0]
    # float32 would move these two: 24 * (255 - 85) / 255 is 16 exactly
    assert latency_table(16, 32)[[16, 8, 1]].tolist() == [0, 16, 30]


def test_every_pixel_spikes_once_or_never() -> None:
    pixels = np.random.default_rng(0).integers(0, 17, (5, 1, 4, 4)).astype(np.uint8)
    source = CodedImages(pixels, np.arange(5), k_max=16, T=40, t_last=24)
    spikes = source.spikes(np.array([3, 1])).dense()
    assert spikes.shape == (40, 2, 1, 4, 4)
    np.testing.assert_array_equal(spikes.sum(0), pixels[[3, 1]] > 0)
    step = spikes.argmax(0).numpy()
    expected = 24 * (16 - pixels[[3, 1]].astype(int)) // 16
    np.testing.assert_array_equal(step[pixels[[3, 1]] > 0], expected[pixels[[3, 1]] > 0])


def test_rate_coding_has_the_asked_rate_and_depends_on_seed_and_sample_only() -> None:
    pixels = np.array([[0, 64, 128, 255]], dtype=np.uint8).repeat(2, 0)
    source = CodedImages(pixels, np.zeros(2, int), k_max=255, T=4000, coding="rate", max_rate=0.2, seed=7)
    spikes = source.spikes(np.array([0, 1])).dense()
    np.testing.assert_allclose(spikes.mean(0)[0], 0.2 * pixels[0] / 255, atol=0.02)
    assert not np.array_equal(spikes[:, 0], spikes[:, 1])
    np.testing.assert_array_equal(source.spikes(np.array([1])).dense()[:, 0], spikes[:, 1])
    other = rate_spikes(pixels[0], 4000, 0.2, 255, 8, 0)
    assert not np.array_equal(other, spikes[:, 0].numpy().astype(bool))


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(raw: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    raw.mkdir(parents=True)
    for file in MNIST.files:
        content = idx(pixels) if "images" in file.name else idx(labels)
        (raw / f"{file.name}.gz").write_bytes(gzip.compress(content))


class Notes(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


PIXELS = np.random.default_rng(1).integers(0, 256, (40, 28, 28)).astype(np.uint8)
LABELS = (np.arange(40) % 10).astype(np.uint8)


def test_idx_files_are_read_and_another_version_is_pointed_out(tmp_path: Path) -> None:
    write_mnist(tmp_path / "MNIST" / "raw", PIXELS, LABELS)
    report = Notes()
    data = MNIST(root=str(tmp_path)).load(0, report)
    assert (len(data.train), len(data.val), len(data.test)) == (36, 4, 40)
    assert len([note for note in report.notes if "not the published version" in note]) == 4


def test_unpacked_idx_files_are_accepted(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in FashionMNIST.files:
        (raw / file.name).write_bytes(idx(PIXELS) if "images" in file.name else idx(LABELS))
    assert len(FashionMNIST(root=str(tmp_path)).load(0, Quiet()).test) == 40


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x09\x03" + bytes(12), "not an IDX file"),
        (idx(LABELS), "not an IDX file"),
        (idx(PIXELS)[:-5], "it holds"),
        (idx(PIXELS) + b"x", "it holds"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "it holds"),
    ],
)
def test_damaged_idx_is_named(content: bytes, says: str) -> None:
    with pytest.raises(UserError, match=r"file\.idx") as caught:
        parse_idx(content, Path("file.idx"), 3)
    assert says in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "not gzip", "label", "count", "size"])
def test_damaged_mnist_files_are_named(tmp_path: Path, damage: str) -> None:
    raw = tmp_path / "MNIST" / "raw"
    pixels = PIXELS[:, :27] if damage == "size" else PIXELS
    labels = LABELS + 1 if damage == "label" else LABELS[:-1] if damage == "count" else LABELS
    write_mnist(raw, pixels, labels)
    images = raw / "train-images-idx3-ubyte.gz"
    if damage == "truncated":
        images.write_bytes(images.read_bytes()[:-2000])
    if damage == "not gzip":
        images.write_bytes(b"hello")
    with pytest.raises(UserError, match=r"train-(images|labels)"):
        MNIST(root=str(tmp_path)).load(0, Quiet())


def test_offline_download_names_url_folder_and_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IdxImages, "url", "http://127.0.0.1:1/", raising=False)
    monkeypatch.setattr(MNIST, "url", "http://127.0.0.1:1/")
    with pytest.raises(UserError) as caught:
        MNIST(root=str(tmp_path)).load(0, Quiet())
    message = str(caught.value)
    assert "http://127.0.0.1:1/train-images-idx3-ubyte.gz" in message
    assert str(tmp_path / "MNIST" / "raw") in message
    assert "t10k-labels-idx1-ubyte.gz" in message


def test_digits_are_the_bundled_images_with_a_fixed_test_set() -> None:
    data = Digits().load(0, Quiet())
    assert (len(data.train) + len(data.val), len(data.test)) == (1437, 360)
    again = Digits(split_seed=5).load(3, Quiet())
    np.testing.assert_array_equal(
        data.test.source.spikes(np.arange(9)).dense(), again.test.source.spikes(np.arange(9)).dense()
    )
    counts = np.bincount(data.test.source.labels)
    assert counts.min() >= 34
    assert counts.max() <= 37
    assert data.hash != again.hash


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 8), st.integers(0, 210), st.integers(0, 5))
def test_stratified_samples(n: int, classes: int, size: int, seed: int) -> None:
    labels = np.random.default_rng(n).integers(0, classes, n)
    chosen = stratified_sample(labels, np.arange(n), size, seed)
    assert len(chosen) == len(set(chosen.tolist())) == min(size, n)
    if size < n:
        exact = np.bincount(labels, minlength=classes) * size / n
        assert np.all(np.abs(np.bincount(labels[chosen], minlength=classes) - exact) < 1)


def test_split_is_a_partition_and_depends_on_its_own_seed() -> None:
    labels = np.arange(100) % 4
    rest, part = stratified_split(labels, np.arange(100), 0.2, 0)
    assert sorted([*rest, *part]) == list(range(100))
    assert np.bincount(labels[part]).tolist() == [5] * 4
    assert not np.array_equal(part, stratified_split(labels, np.arange(100), 0.2, 1)[1])


def test_limits_draw_stratified_subsets() -> None:
    data = Digits(limit_train=50, limit_val=20, limit_test=30).load(0, Quiet())
    assert (len(data.train), len(data.val), len(data.test)) == (50, 20, 30)
    full = Digits().load(0, Quiet())
    assert set(data.train.indices) <= set(full.train.indices)
    assert data.train.source.labels is not None
    assert np.bincount(data.train.source.labels[data.train.indices]).min() >= 4


def test_yinyang_geometry() -> None:
    x = np.array([0.75, 0.25, 0.5, 0.5, 0.25, 0.75, 0.05])
    y = np.array([0.5, 0.5, 0.9, 0.1, 0.35, 0.65, 0.55])
    # both dots, the upper and the lower half, the left bulge (upper's), the right hollow (lower's), left in the upper
    assert classify(x, y).tolist() == [2, 2, 1, 0, 1, 0, 1]


def test_yinyang_is_balanced_inside_the_disk_and_the_same_every_time() -> None:
    points, classes = generate(600, 1)
    assert np.bincount(classes).tolist() == [200] * 3
    assert np.hypot(*(points - 0.5).T).max() <= 0.5
    np.testing.assert_array_equal(classify(*points.T), classes)
    data = YinYang().load(0, Quiet())
    assert (len(data.train), len(data.val), len(data.test)) == (5000, 1000, 1000)
    assert data.hash == YinYang().load(9, Quiet()).hash


def test_yinyang_inputs_are_mirrored_and_the_bias_spikes_at_zero() -> None:
    source = YinYang().load(0, Quiet()).train.source
    steps = source.spikes(np.arange(20)).dense().argmax(0).numpy()
    assert steps[:, 4].tolist() == [0] * 20
    assert np.all(np.abs(steps[:, 0] + steps[:, 2] - 32) <= 1)

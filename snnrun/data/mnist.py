"""MNIST (LeCun, Cortes & Burges) and Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), from IDX files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from snnrun.data.download import fetch
from snnrun.data.idx import parse_idx, read_bytes
from snnrun.data.images import ImageDataset, Images
from snnrun.data.report import Reporter
from snnrun.data.roots import data_root
from snnrun.errors import UserError
from snnrun.registry import register

_SIDE, _CLASSES = 28, 10


class Published(NamedTuple):
    """One published file and its checksums; that of the unpacked bytes where it is known."""

    name: str
    md5_gz: str
    md5_unpacked: str | None = None


@dataclass
class IdxImages(ImageDataset):
    """Base of data sets in four IDX files: ``<root>/<folder>/raw/train-images-idx3-ubyte[.gz]`` and so on."""

    shape = (1, _SIDE, _SIDE)
    outputs = _CLASSES

    folder: ClassVar[str]
    url: ClassVar[str]
    files: ClassVar[tuple[Published, ...]]

    def check(self) -> None:
        super().check()
        data_root(self.root)

    def images(self, report: Reporter) -> tuple[Images, Images]:
        raw = data_root(self.root) / self.folder / "raw"
        train_pixels, train_labels, test_pixels, test_labels = (self._file(raw, file, report) for file in self.files)
        return _paired(*train_pixels, *train_labels), _paired(*test_pixels, *test_labels)

    def _file(self, raw: Path, file: Published, report: Reporter) -> tuple[np.ndarray, Path]:
        path = raw / file.name
        if not path.exists():
            path = raw / f"{file.name}.gz"
            layout = ", ".join(f"{each.name}.gz" for each in self.files)
            fetch(self.url + path.name, path, file.md5_gz, layout, report)
        content = read_bytes(path)
        if not _as_published(path, content, file):
            report.note(f"{path} is not the published version (checksum); using it as it is")
        return parse_idx(content, path, dimensions=3 if "images" in file.name else 1), path


def _as_published(path: Path, content: bytes, file: Published) -> bool:
    if file.md5_unpacked is not None:
        return hashlib.md5(content, usedforsecurity=False).hexdigest() == file.md5_unpacked
    return path.suffix != ".gz" or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == file.md5_gz


def _paired(pixels: np.ndarray, pixels_path: Path, labels: np.ndarray, labels_path: Path) -> Images:
    if pixels.shape[1:] != (_SIDE, _SIDE):
        raise UserError(f"{pixels_path} holds images of {pixels.shape[1]}x{pixels.shape[2]}, not {_SIDE}x{_SIDE}")
    if len(pixels) != len(labels):
        raise UserError(f"{labels_path} holds {len(labels)} labels for {len(pixels)} images in {pixels_path}")
    if not len(labels):
        raise UserError(f"{pixels_path} holds no image")
    if labels.max() >= _CLASSES:
        raise UserError(f"{labels_path} holds the label {labels.max()}, classes are 0 to {_CLASSES - 1}")
    return pixels[:, None], labels.astype(np.int64)


@register("dataset", "mnist")
@dataclass
class MNIST(IdxImages):
    """Handwritten digits, 60,000 + 10,000."""

    folder = "MNIST"
    url = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    files = (
        Published("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
        Published("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
        Published("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
        Published("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
    )


@register("dataset", "fashion_mnist")
@dataclass
class FashionMNIST(IdxImages):
    """Articles of clothing, 60,000 + 10,000."""

    folder = "FashionMNIST"
    url = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
    files = (
        Published("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        Published("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe"),
        Published("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79"),
        Published("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310"),
    )

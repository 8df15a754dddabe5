"""What a data set is: parameters, a source of training and of test samples, and their split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from snnrun.data.augment import Augmented, Changes
from snnrun.data.report import Reporter
from snnrun.data.splits import stratified_sample, stratified_split
from snnrun.errors import UserError
from snnrun.losses import Targets
from snnrun.registry import param
from snnrun.snn import Events

MOST_STEPS = 1_000_000  # a thousand seconds in milliseconds; more is a slip, and memory


class Source(Protocol):
    """Samples that can be turned into input spikes, by index."""

    @property
    def labels(self) -> np.ndarray | None:
        """Class labels, int64 [n]; None where the data has target trains instead."""

    def __len__(self) -> int: ...

    def spikes(self, indices: np.ndarray) -> Tensor | Events:
        """Input spikes, as events or dense: float32 0 or 1, [T, len(indices), *shape]."""

    def targets(self, indices: np.ndarray) -> Targets:
        """Labels or target trains of the samples."""

    def fingerprint(self) -> str:
        """Identifies the content, equal on every machine that holds the same data."""


class Split(NamedTuple):
    """A part of a source: train, validation or test."""

    source: Source
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def in_epoch(self, seed: int, epoch: int) -> Split:
        """The same samples as training sees them in an epoch: augmented, if they are to be."""
        if not isinstance(self.source, Augmented):
            return self
        return Split(self.source.in_epoch(seed, epoch), self.indices)


@dataclass(frozen=True)
class Data:
    """A loaded data set.

    Attributes:
        shape: of one step of one sample, (N,) or (C, H, W).
        outputs: neurons that the output layer needs (number of classes).
        hash: identifies samples and split; runs with different hashes are not comparable.
    """

    shape: tuple[int, ...]
    outputs: int
    train: Split
    val: Split
    test: Split
    hash: str


@dataclass
class Dataset:
    """Base of data sets. A subclass gives ``shape``, ``outputs`` and :meth:`sources`.

    Attributes:
        preferred_loss: what ``loss=auto`` takes where the method can learn from it.
        loss_options: by loss, options that differ from its defaults on this data; what a user sets wins.
        method_options: the same by method.
        has_labels: whether there are class labels; target trains otherwise.
        has_validation: whether the data come with a validation set, taken where ``val_share`` is None.
        T: steps of the simulation.
        root: folder below which the data lies; None: $SNNRUN_DATA, else ~/.cache/snnrun.
        val_share: share of the training samples kept for validation, stratified, drawn with ``split_seed``.
        limit_train, limit_val, limit_test: use a stratified sample of this size of each part.
        workers: processes that prepare batches; 0 prepares them in the training process.
        drop_spikes: in training, probability with which an input spike vanishes.
        shift_pixels: in training, each picture moves by up to so many pixels, each way.
        rotate_degrees: in training, each picture turns by up to so many degrees, each way.
        zoom: in training, each picture is scaled by up to 1 + zoom, or down to 1 / (1 + zoom).
        elastic_pixels: in training, a smooth random field of this standard deviation bends each picture.
        jitter_steps: in training, each input spike moves by up to so many steps, each way.
    """

    name: ClassVar[str]
    preferred_loss: ClassVar[str] = "latency"
    loss_options: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    method_options: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    has_labels: ClassVar[bool] = True
    has_validation: ClassVar[bool] = False

    T: int = param(100, ge=1, le=MOST_STEPS)
    root: str | None = None
    val_share: float | None = param(0.1, gt=0, lt=1)
    split_seed: int = param(0, ge=0, le=2**32 - 1)
    limit_train: int | None = param(None, ge=1)
    limit_val: int | None = param(None, ge=1)
    limit_test: int | None = param(None, ge=1)
    workers: int = param(0, ge=0, le=256)
    drop_spikes: float = param(0.0, ge=0, lt=1)
    shift_pixels: int = param(0, ge=0, le=10_000)
    rotate_degrees: float = param(0.0, ge=0, le=180)
    zoom: float = param(0.0, ge=0, le=10)
    elastic_pixels: float = param(0.0, ge=0, le=10_000)
    jitter_steps: int = param(0, ge=0, le=MOST_STEPS)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one step of one sample, (N,) or (C, H, W); a class attribute where no option changes it."""
        raise NotImplementedError(f"{type(self).__name__} needs shape")

    @property
    def outputs(self) -> int:
        """Classes, or target trains; a class attribute where no option changes it."""
        raise NotImplementedError(f"{type(self).__name__} needs outputs")

    def check(self) -> None:
        """Hold parameters against each other; ranges of single ones are checked before.

        Raises:
            UserError: names the options that do not fit.
        """
        if self.val_share is None and not self.has_validation:
            raise UserError(
                f"dataset.val_share is null, but {self.name} comes without a validation set",
                "Give the share of the training samples to be kept for it, as 0.1",
            )
        for option in ("shift_pixels", "rotate_degrees", "zoom", "elastic_pixels"):
            if getattr(self, option) and len(self.shape) == 1:
                what = f"dataset.{option} is {getattr(self, option):g}, but {self.name} has no pixels"
                raise UserError(what, "Leave it out")

    def sources(self, seed: int, report: Reporter) -> tuple[Source, Source]:
        """Training (and validation) samples, and test samples.

        Args:
            seed: of the run, for codings that draw at random.
            report: is told about downloads, packing and missing parts.

        Raises:
            UserError: data is missing or damaged.
        """
        raise NotImplementedError(f"{type(self).__name__} needs sources()")

    def validation(self, seed: int, report: Reporter) -> Source:
        """The validation set that the data come with; asked for where ``val_share`` is None."""
        raise NotImplementedError(f"{type(self).__name__} needs validation()")

    def load(self, seed: int, report: Reporter) -> Data:
        """Read the data and split it; the split depends on ``split_seed``, never on ``seed``."""
        train, test = self.sources(seed, report)
        if self.val_share is None:
            val = self.validation(seed, report)
            return self._data(_whole(train), _whole(val), _whole(test))
        return self._cut(_whole(train), _whole(test))

    def _cut(self, train: Split, test: Split) -> Data:
        """Cut a validation set from the training samples."""
        assert self.val_share is not None
        source, indices = train
        train_indices, val_indices = stratified_split(source.labels, indices, self.val_share, self.split_seed)
        if not (len(train_indices) and len(val_indices) and len(test)):
            raise UserError(
                f"dataset.val_share={self.val_share:g} of {len(train)} training samples leaves a part empty "
                f"(train {len(train_indices)}, validation {len(val_indices)}, test {len(test)})",
                "Choose another share or add data",
            )
        return self._data(Split(source, train_indices), Split(source, val_indices), test)

    def _data(self, train: Split, val: Split, test: Split) -> Data:
        """The three parts, cut to their limits."""
        parts = (
            self._part(*train, self.limit_train),
            self._part(*val, self.limit_val),
            self._part(*test, self.limit_test),
        )
        data = Data(self.shape, self.outputs, *parts, hash=_hash(parts))
        changes = Changes(
            drop=self.drop_spikes,
            jitter=self.jitter_steps,
            shift=self.shift_pixels,
            rotate=self.rotate_degrees,
            zoom=self.zoom,
            elastic=self.elastic_pixels,
        )
        if not changes.any:
            return data
        source, indices = data.train
        return replace(data, train=Split(Augmented(source, self.shape, changes), indices))

    def _part(self, source: Source, indices: np.ndarray, limit: int | None) -> Split:
        return Split(source, stratified_sample(source.labels, indices, limit, self.split_seed))


def _whole(source: Source) -> Split:
    return Split(source, np.arange(len(source)))


def _hash(parts: tuple[Split, ...]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.source.fingerprint().encode())
        digest.update(np.asarray(part.indices, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]

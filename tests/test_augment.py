"""Augmentation: what it does to spikes, that only training sees it, and that it repeats to the bit."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from cli import rows, run_dirs, snnrun, timeless

from snnrun.data import Quiet, Split, batches
from snnrun.data.augment import Augmented, Changes
from snnrun.data.codings import CodedImages
from snnrun.data.digits import Digits
from snnrun.data.yinyang import YinYang
from snnrun.errors import UserError
from snnrun.snn import Events

SHAPE, T = (2, 5, 6), 30


def source(samples: int = 8) -> CodedImages:
    pixels = np.random.default_rng(0).integers(0, 256, (samples, *SHAPE), dtype=np.uint8)
    return CodedImages(pixels, np.zeros(samples, dtype=np.int64), 255, T)


def dense(augmented: Augmented, *indices: int, epoch: int = 1) -> torch.Tensor:
    """[T, samples, *SHAPE]."""
    events = augmented.in_epoch(3, epoch).spikes(np.array(indices))
    assert isinstance(events, Events)
    return events.dense()


def plain(*indices: int) -> torch.Tensor:
    return source().spikes(np.array(indices)).dense()


def test_a_source_that_is_not_told_an_epoch_is_as_it_was() -> None:
    augmented = Augmented(source(), SHAPE, Changes(drop=0.5, shift=2, jitter=3))
    spikes = augmented.spikes(np.array([1, 4]))
    assert isinstance(spikes, Events)
    assert torch.equal(spikes.dense(), plain(1, 4))
    assert augmented.fingerprint() == source().fingerprint()


def test_dropped_spikes_are_a_share_of_all_and_none_is_new() -> None:
    everything = range(8)
    left = dense(Augmented(source(), SHAPE, Changes(drop=0.3)), *everything)
    assert not (left > plain(*everything)).any()
    assert left.sum() / plain(*everything).sum() == pytest.approx(0.7, abs=0.07)


def test_a_shift_moves_the_whole_picture() -> None:
    augmented, seen = Augmented(source(), SHAPE, Changes(shift=1)), set()
    before = torch.nn.functional.pad(plain(2), (1, 1, 1, 1))
    for epoch in range(60):
        after = dense(augmented, 2, epoch=epoch)
        moves = [
            (down, right)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if torch.equal(after, before.roll((down, right), (-2, -1))[..., 1:-1, 1:-1])
        ]
        assert len(moves) == 1
        seen.add(moves[0])
    assert len(seen) == 9


def test_jitter_moves_spikes_in_time_only() -> None:
    moved = dense(Augmented(source(), SHAPE, Changes(jitter=2)), 0)[:, 0].flatten(1)
    still = plain(0)[:, 0].flatten(1)
    distances = []
    for address in range(still.shape[1]):
        before, after = still[:, address].nonzero().flatten().tolist(), moved[:, address].nonzero().flatten().tolist()
        assert len(after) <= len(before) <= 1
        distances += [there - here for here, there in zip(before, after, strict=False)]
    assert set(distances) == {-2, -1, 0, 1, 2}


SIDE = 29


@dataclass
class Numbered:
    """Pictures of which pixel p spikes at step p alone, so that every spike tells where it came from."""

    labels: None = None

    def __len__(self) -> int:
        return 200

    def spikes(self, indices: np.ndarray) -> torch.Tensor:
        one = torch.eye(SIDE * SIDE).view(SIDE * SIDE, 1, 1, SIDE, SIDE)
        return one.repeat(1, len(indices), 1, 1, 1)


def sources_of(samples: int = 20, **changes: float) -> np.ndarray:
    """Where every pixel's spikes came from, relative to the middle: complex [samples, SIDE, SIDE], x + iy; or NaN."""
    events = Augmented(Numbered(), (1, SIDE, SIDE), Changes(**changes)).in_epoch(0, 1).spikes(np.arange(samples))
    assert isinstance(events, Events)
    sample, step = (part.numpy() for part in events.where())
    origin = np.full((samples, SIDE * SIDE), complex(np.nan, np.nan))
    assert len(np.unique(sample * SIDE**2 + events.address.numpy())) == len(sample)  # one source each
    origin[sample, events.address.numpy()] = middle(step)
    return origin.reshape(samples, SIDE, SIDE)


def middle(pixel: np.ndarray) -> np.ndarray:
    return (pixel % SIDE - SIDE // 2) + 1j * (pixel // SIDE - SIDE // 2)


PLACE = middle(np.arange(SIDE * SIDE)).reshape(SIDE, SIDE)
FAR = (abs(PLACE) > 8) & (abs(PLACE) < 12)


def test_a_rotation_keeps_distances_and_turns_all_pixels_by_one_angle() -> None:
    turned = sources_of(rotate=30.0)
    assert np.nanmax(abs(abs(turned) - abs(PLACE))) < 0.75  # rounded to a pixel
    angles = np.degrees(np.angle(turned[:, FAR] / PLACE[FAR]))
    of_samples = angles.mean(axis=1)
    assert (angles.std(axis=1) < 3).all()
    assert (abs(of_samples) < 31).all()
    assert of_samples.max() > 15
    assert of_samples.min() < -15


def test_a_zoom_scales_all_distances_by_one_factor() -> None:
    factors = abs(PLACE[FAR]) / abs(sources_of(zoom=0.25)[:, FAR])
    of_samples = factors.mean(axis=1)
    assert (factors.std(axis=1) < 0.06).all()
    assert (of_samples < 1.27).all()
    assert (of_samples > 0.78).all()
    assert of_samples.max() > 1.12
    assert of_samples.min() < 0.9


def test_an_elastic_field_has_its_deviation_and_is_smooth() -> None:
    moves = sources_of(samples=200, elastic=1.5) - PLACE
    inner = moves[:, 8:-8, 8:-8]
    assert inner.real.std() == pytest.approx(1.5, abs=0.15)
    assert inner.imag.std() == pytest.approx(1.5, abs=0.15)
    assert abs(inner.mean()) < 0.3
    assert abs(np.diff(inner, axis=2)).mean() < 0.7
    assert np.nanstd(moves[:, 0].imag) == pytest.approx(1.5, abs=0.5)  # at the border, too


def test_a_samples_draws_depend_on_seed_epoch_and_sample_alone() -> None:
    augmented = Augmented(source(), SHAPE, Changes(drop=0.5, shift=1, jitter=1))
    together = dense(augmented, 5, 0, 3)
    assert torch.equal(together[:, 2:], dense(augmented, 3))
    assert not torch.equal(dense(augmented, 3), dense(augmented, 3, epoch=2))
    other_seed = augmented.in_epoch(4, 1).spikes(np.array([3]))
    assert isinstance(other_seed, Events)
    assert not torch.equal(dense(augmented, 3), other_seed.dense())


def test_workers_change_nothing() -> None:
    split = Split(Augmented(source(), SHAPE, Changes(drop=0.5, shift=1)), np.arange(8)).in_epoch(0, 2)
    for ours, theirs in zip(batches(split, 3), batches(split, 3, workers=2), strict=True):
        assert isinstance(ours.spikes, Events)
        assert isinstance(theirs.spikes, Events)
        assert torch.equal(ours.spikes.offsets, theirs.spikes.offsets)
        assert torch.equal(ours.spikes.address, theirs.spikes.address)


def test_only_training_is_augmented_and_the_datas_hash_stays() -> None:
    data = Digits(drop_spikes=0.2, shift_pixels=1).load(0, Quiet())
    assert isinstance(data.train.source, Augmented)
    assert not isinstance(data.val.source, Augmented)
    assert not isinstance(data.test.source, Augmented)
    assert data.hash == Digits().load(0, Quiet()).hash
    assert not isinstance(Digits().load(0, Quiet()).train.source, Augmented)


@pytest.mark.parametrize("option", ["shift_pixels", "rotate_degrees", "zoom", "elastic_pixels"])
def test_changes_of_pictures_need_pixels(option: str) -> None:
    with pytest.raises(UserError, match=rf"{option} is 1, but yinyang has no pixels"):
        YinYang(**{option: 1}).check()


def test_runs_with_augmentation_repeat_to_the_bit(tmp_path: Path) -> None:
    options = ("debug=fast", "trainer.epochs=2", "logger=none", "dataset.drop_spikes=0.3", "dataset.elastic_pixels=1")
    for workers in (0, 2):
        snnrun(*options, f"dataset.workers={workers}", cwd=tmp_path, check=True)
    one, two = ([timeless(row) for row in rows(run)] for run in run_dirs(tmp_path))
    assert one == two

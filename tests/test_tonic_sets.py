"""dataset=tonic: sets that fit and that do not, small files in two published formats, what is missing."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli import only_run, snnrun, summary

from snnrun.data import Quiet
from snnrun.data.store import Recording
from snnrun.data.tonic_sets import TonicSet, cut
from snnrun.errors import UserError

DIGITS = "oz123456789"


def write_lips(root: Path) -> Path:
    """DVS-Lip: structured arrays below train/<word>/NUMBER.npy; tonic wants a hundred; clocks of the camera."""
    from tonic import datasets

    rng = np.random.default_rng(0)
    target = root / "DVSLip" / "DVS-Lip"
    for part in ("train", "test"):
        for label, word in enumerate(datasets.DVSLip.classes):
            folder = target / part / word
            folder.mkdir(parents=True)
            for number in range(2):
                events = np.zeros(40, dtype=datasets.DVSLip.dtype)
                events["x"], events["y"] = label, rng.integers(0, 128, 40)
                events["p"], events["t"] = rng.integers(0, 2, 40), 7_000_000 + np.sort(rng.integers(0, 900_000, 40))
                np.save(folder / f"{number}.npy", events)
    return target


def write_cochlea(root: Path) -> Path:
    """N-TIDIGITS18: one HDF5 file with spoken sequences, of which single digits are taken."""
    rng = np.random.default_rng(0)
    path = root / "NTIDIGITS18" / "n-tidigits.hdf5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        for part, speakers in (("train", 6), ("test", 3)):
            names = [f"man-{speaker}-a-{digit}" for speaker in range(speakers) for digit in [*DIGITS, "12"]]
            file[f"{part}_labels"] = np.array(names, dtype="S20")
            for name in names:
                file[f"{part}_addresses/{name}"] = rng.integers(0, 64, 50)
                file[f"{part}_timestamps/{name}"] = np.sort(rng.random(50))
    return path


def test_lips_time_zero_is_the_first_event(tmp_path: Path, cache: Path) -> None:
    folder = write_lips(tmp_path) / "train" / "accused"
    events = np.load(folder / "0.npy")[:3]
    events["x"], events["y"], events["p"], events["t"] = (3, 8, 127), (5, 5, 0), (0, 1, 1), (5_000, 5_999, 45_000)
    np.save(folder / "0.npy", events)
    data = TonicSet(which="DVSLip", root=str(tmp_path), T=10, window_ms=100, downscale=4).load(0, Quiet())
    assert (data.shape, data.outputs) == ((2, 32, 32), 100)
    assert (len(data.train), len(data.val), len(data.test)) == (180, 20, 200)
    # recordings are in the order of their names, "accused" first
    expected = [[0, 0, 0, 1, 0], [0, 0, 1, 1, 2], [4, 0, 1, 0, 31]]
    assert data.train.source.spikes(np.array([0])).dense().nonzero().tolist() == expected
    assert data.train.source.labels is not None
    assert data.train.source.labels.tolist() == [label for label in range(100) for _ in range(2)]


def test_a_cochlea_has_channels_and_its_own_clock(tmp_path: Path, cache: Path) -> None:
    path = write_cochlea(tmp_path)
    with h5py.File(path, "r+") as file:
        name = f"train_{{}}/man-0-a-{DIGITS[0]}"
        del file[name.format("addresses")], file[name.format("timestamps")]
        file[name.format("addresses")], file[name.format("timestamps")] = [63, 0], [0.5, 0.95]
    data = TonicSet(which="NTIDIGITS18", root=str(tmp_path), T=10, window_ms=1000).load(0, Quiet())
    assert (data.shape, data.outputs) == ((64,), 11)
    assert (len(data.train) + len(data.val), len(data.test)) == (66, 33)
    assert data.train.source.spikes(np.array([0])).dense().nonzero().tolist() == [[5, 0, 63], [9, 0, 0]]


def test_a_run_on_lips(tmp_path: Path) -> None:
    write_lips(tmp_path)
    chosen = ("dataset=tonic", "dataset.which=DVSLip", f"dataset.root={tmp_path}")
    snnrun("debug=fast", "logger=none", "method=activation", "dataset.downscale=8", *chosen, cwd=tmp_path, check=True)
    content = summary(only_run(tmp_path))
    assert (content["dataset"], content["data"]["n_train"]) == ("tonic", 64)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "dataset.which is not set. Sets of tonic's that do: ASLDVS, CIFAR10DVS, DVSLip, NTIDIGITS18."),
        ({"which": "DSEC"}, "dataset.which is DSEC, which does not fit. Sets of tonic's that do: ASLDVS"),
        ({"which": "NCALTECH101"}, "which does not fit"),
        ({"which": "SHD"}, "Try dataset=shd"),
        ({"which": "ASLDVS"}, "86,400 inputs"),
        ({"which": "DVSLip", "test_share": 0.2}, "DVSLip has a test set"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(UserError) as caught:
        TonicSet(**options).check()  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_the_command_line_lists_what_fits(tmp_path: Path) -> None:
    result = snnrun("dataset=tonic", "dataset.which=CIFAR10", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("snnrun: error: dataset.which is CIFAR10, which does not fit.")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("which", ["CIFAR10DVS", "DVSLip", "NTIDIGITS18"])
def test_offline_names_url_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    from tonic import datasets

    kind = getattr(datasets, which)
    monkeypatch.setattr(kind, "url" if which == "CIFAR10DVS" else "base_url", "http://127.0.0.1:1/archive")
    with pytest.raises(UserError) as caught:
        TonicSet(which=which, root=str(tmp_path)).load(0, Quiet())
    for part in (f"is not in {tmp_path}/{which}", "http://127.0.0.1:1/archive", f"{tmp_path}/{which}/{kind.filename}"):
        assert part in str(caught.value)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_a_folder_that_lacks_most_of_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "DVSLip"
    (folder / "DVS-Lip" / "train" / "accused").mkdir(parents=True)
    with pytest.raises(UserError, match=r"all of tonic's DVSLip is not in .*DVS-Lip\.zip"):
        TonicSet(which="DVSLip", root=str(tmp_path)).load(0, Quiet())
    assert [path.name for path in folder.iterdir()] == ["DVS-Lip"]
    assert capsys.readouterr().out == ""


def test_an_event_outside_of_the_sensor_is_named(tmp_path: Path, cache: Path) -> None:
    path = write_cochlea(tmp_path)
    with h5py.File(path, "r+") as file:
        file[f"test_addresses/man-2-a-{DIGITS[0]}"][7] = 64
    with pytest.raises(UserError, match=r"n-tidigits\.hdf5 has an event at x=64, y=0, p=0, outside of 64x1x1"):
        TonicSet(which="NTIDIGITS18", root=str(tmp_path)).load(0, Quiet())


def test_a_set_whose_reader_is_not_installed_names_it(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aedat", None)  # as if it were not, where it is
    folder = tmp_path / "CIFAR10DVS"
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(100):
            (folder / name / f"{number}.aedat4").write_bytes(b"")
    (folder / "CIFAR10DVS.zip").touch()
    with pytest.raises(UserError, match=r"tonic's CIFAR10DVS needs aedat\. Try pip install aedat"):
        TonicSet(which="CIFAR10DVS", root=str(tmp_path)).load(0, Quiet())


def test_a_set_without_a_test_set_is_cut_by_class() -> None:
    recordings = [Recording(Path(f"{index}"), f"{index}", index % 4) for index in range(80)]
    train, test = cut(recordings, 0.1)
    assert (len(train), len(test)) == (72, 8)
    assert sorted(recording.label for recording in test) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sorted([*train, *test]) == sorted(recordings)
    assert cut(recordings, 0.1) == (train, test)

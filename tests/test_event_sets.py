"""SHD, SSC and DVS Gesture: small files in the published formats through our readers, tonic's and the command line."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from cli import only_run, snnrun, summary
from event_files import Notes, write_gestures, write_speech

from snnrun.data import Quiet, dvsgesture, speech
from snnrun.data.dvsgesture import DVSGesture
from snnrun.data.recordings import coarser
from snnrun.data.speech import SHD, SSC
from snnrun.errors import UserError

SSC_SIZES = {"train": 70, "valid": 35, "test": 35}
FAST = ("debug=fast", "logger=none", "method=activation")


def shd(root: Path) -> Path:
    return write_speech(root, "SHD", {"train": 80, "test": 40}, classes=20)


def ssc(root: Path) -> Path:
    return write_speech(root, "SSC", SSC_SIZES, classes=35)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_spoken_commands_are_read_as_tonic_reads_them(tmp_path: Path, part: str) -> None:
    from tonic import datasets

    path = ssc(tmp_path) / f"ssc_{part}.h5"
    theirs = datasets.SSC(str(tmp_path), split=part)
    for index, (events, _) in enumerate(theirs[index] for index in range(len(theirs))):
        channel, time_us = speech.read_recording(path, index)
        np.testing.assert_array_equal(channel, events["x"])
        np.testing.assert_array_equal(time_us, events["t"])
    assert index + 1 == SSC_SIZES[part]


@pytest.mark.parametrize("train", [True, False])
def test_gestures_are_read_as_tonic_reads_them(tmp_path: Path, train: bool) -> None:
    from tonic import datasets

    write_gestures(tmp_path)
    theirs = datasets.DVSGesture(str(tmp_path), train=train)
    assert len(theirs) == 110
    for path, (events, label) in zip(theirs.data, (theirs[index] for index in range(110)), strict=True):
        address, time_us = dvsgesture.read_recording(Path(path))
        np.testing.assert_array_equal(address, (events["p"] * 128 + events["y"].astype(int)) * 128 + events["x"])
        np.testing.assert_array_equal(time_us, events["t"] - events["t"].min())
        assert Path(path).stem == str(label)


def test_spoken_digits_become_spikes(tmp_path: Path, cache: Path) -> None:
    path, report = shd(tmp_path) / "shd_train.h5", Notes()
    with h5py.File(path, "r+") as file:
        file["spikes/times"][5] = np.array([0.0, 0.25, 0.2501, 1.5], dtype=np.float16)
        file["spikes/units"][5] = np.array([3, 699, 699, 0], dtype=np.uint16)
    data = SHD(root=str(tmp_path), T=28).load(0, report)
    assert (len(data.train), len(data.val), len(data.test)) == (72, 8, 40)
    assert report.notes == [
        f"SHD: 80 of 8,156 training recordings found in {path}, using these",
        f"SHD: 40 of 2,264 test recordings found in {path.with_name('shd_test.h5')}, using these",
    ]
    # steps of 50 ms; two events of a channel in a step are one spike; 1.5 s is past the window of 1.4 s
    assert data.train.source.spikes(np.array([5])).dense().nonzero().tolist() == [[0, 0, 3], [5, 0, 699]]
    assert data.train.source.labels is not None
    assert data.train.source.labels[:21].tolist() == [*range(20), 0]


def test_spoken_commands_bring_their_validation_set(tmp_path: Path, cache: Path) -> None:
    ssc(tmp_path)
    own = SSC(root=str(tmp_path)).load(0, Quiet())
    assert (len(own.train), len(own.val), len(own.test)) == (70, 35, 35)
    assert own.val.source is not own.train.source
    cut = SSC(root=str(tmp_path), val_share=0.5).load(0, Quiet())
    assert (len(cut.train), len(cut.val), len(cut.test)) == (35, 35, 35)
    assert cut.val.source is cut.train.source
    limited = SSC(root=str(tmp_path), limit_train=35, limit_val=7).load(0, Quiet())
    assert (len(limited.train), len(limited.val), len(limited.test)) == (35, 7, 35)
    assert len({own.hash, cut.hash, limited.hash}) == 3


def test_gestures_become_spikes_of_coarser_pixels(tmp_path: Path, cache: Path) -> None:
    path = write_gestures(tmp_path) / "ibmGestureTrain" / "user01_fluorescent" / "0.npy"
    np.save(path, [(0, 0, 0, 7000), (3, 3, 0, 7001), (127, 4, 1, 7100), (0, 0, 1, 8500), (9, 9, 0, 8499)])
    fine = DVSGesture(root=str(tmp_path), T=100, downscale=1).load(0, Quiet())
    assert fine.shape == (2, 128, 128)
    assert fine.train.source.spikes(np.array([0])).dense().nonzero().tolist() == [
        [0, 0, 0, 0, 0], [0, 0, 0, 3, 3], [6, 0, 1, 4, 127], [99, 0, 0, 9, 9],
    ]  # fmt: skip
    coarse = DVSGesture(root=str(tmp_path), T=100).load(0, Quiet())
    assert coarse.shape == (2, 32, 32)
    assert coarse.train.source.spikes(np.array([0])).dense().nonzero().tolist() == [
        [0, 0, 0, 0, 0], [6, 0, 1, 1, 31], [99, 0, 0, 2, 2],
    ]  # fmt: skip


def test_coarser_pixels_of_a_camera_that_does_not_divide() -> None:
    inputs = coarser((2, 3, 5), 2)
    assert inputs is not None
    expected = [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    assert inputs.reshape(2, 3, 5).tolist() == [expected, [[6 + value for value in row] for row in expected]]


@pytest.mark.parametrize(("name", "write"), [("shd", shd), ("ssc", ssc), ("dvsgesture", write_gestures)])
def test_a_run_on_small_files(tmp_path: Path, name: str, write) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "data")
    snnrun(*FAST, f"dataset={name}", f"dataset.root={tmp_path / 'data'}", cwd=tmp_path, check=True)
    content = summary(only_run(tmp_path))
    assert (content["dataset"], content["data"]["n_train"], content["data"]["n_test"]) == (name, 64, 32)
    assert content["test"]["spikes"] > 0


@pytest.mark.parametrize(
    ("name", "urls", "files"),
    [
        ("shd", ("http://127.0.0.1:1/shd_train.h5.zip", "shd_test.h5.zip"), "SHD/shd_train.h5"),
        ("ssc", ("http://127.0.0.1:1/ssc_train.h5.zip", "ssc_valid.h5.zip"), "SSC/ssc_valid.h5"),
        ("dvsgesture", ("http://127.0.0.1:1/train",), "DVSGesture/ibmGestureTrain/user01_fluorescent/<class>.npy"),
    ],
)
def test_offline_names_url_folder_and_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, urls: tuple[str, ...], files: str
) -> None:
    from tonic import datasets

    monkeypatch.setattr(datasets.SHD.__base__, "base_url", "http://127.0.0.1:1/")
    monkeypatch.setattr(datasets.DVSGesture, "train_url", "http://127.0.0.1:1/train")
    kind = {"shd": SHD, "ssc": SSC, "dvsgesture": DVSGesture}[name]
    with pytest.raises(UserError) as caught:
        kind(root=str(tmp_path)).load(0, Quiet())
    message = str(caught.value)
    for part in (*urls, f"{tmp_path}/{files}", "Fill it by hand"):
        assert part in message
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def times_of_another_length(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["spikes/times"][7] = np.zeros(3, dtype=np.float16)


def channel_too_large(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["spikes/units"][7] = np.full(len(file["spikes/times"][7]), 700, dtype=np.uint16)


def no_event(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for name in ("times", "units"):
            file[f"spikes/{name}"][7] = []


def unknown_label(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["labels"][7] = 20


def no_labels(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["labels"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (times_of_another_length, "recording 7 has 3 times for"),
        (channel_too_large, "recording 7 has an event of channel 700"),
        (no_event, "recording 7 holds no event"),
        (unknown_label, "label 20, classes are 0 to 19"),
        (no_labels, "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (Path.unlink, "is missing"),
    ],
)
def test_a_damaged_file_of_speech_is_named(tmp_path: Path, cache: Path, damage, says: str) -> None:  # type: ignore[no-untyped-def]
    path = shd(tmp_path) / "shd_test.h5"
    damage(path)
    with pytest.raises(UserError) as caught:
        SHD(root=str(tmp_path)).load(0, Quiet())
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([(1, 2, 0)], "not a row of 4 numbers"),
        ([["a", "b", "c", "d"]], "not a row of 4 numbers"),
        (np.zeros((0, 4), dtype=np.int64), "holds no event"),
        ([(128, 2, 0, 5)], "x=128, y=2, polarity=0"),
        ([(1, 2, 2, 5)], "polarity=2"),
        ([(1, 2, 1, 0), (1, 2, 1, 5_000_000)], "longer than an hour"),
    ],
)
def test_a_damaged_gesture_is_named(tmp_path: Path, events: object, says: str) -> None:
    path = tmp_path / "0.npy"
    np.save(path, events)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        dvsgesture.read_recording(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"), [("11.npy", "not named after its class"), ("waving.npy", "not named after its class")]
)
def test_a_gesture_of_no_class_is_named(tmp_path: Path, cache: Path, name: str, says: str) -> None:
    path = write_gestures(tmp_path, users=1) / "ibmGestureTest" / "user101_fluorescent" / name
    path.write_bytes(b"")
    with pytest.raises(UserError, match=says) as caught:
        DVSGesture(root=str(tmp_path)).load(0, Quiet())
    assert str(path) in str(caught.value)


def test_options_that_do_not_fit_the_data_are_refused(tmp_path: Path) -> None:
    for options, says in (
        (("dataset=shd", "dataset.val_share=null"), "comes without a validation set"),
        (("dataset=dvsgesture", "dataset.downscale=129"), "128 x 128 pixels"),
    ):
        result = snnrun(*options, cwd=tmp_path)
        assert result.returncode == 2
        assert says in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()

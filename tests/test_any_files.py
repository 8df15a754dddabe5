"""Damaged and hostile files: a clear error or a right answer, in bounded time and memory; counts are printed."""

import gzip
import importlib.util
import io
import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli import only_run, snnrun
from damaged import Tried, damage
from hypothesis import strategies as st

import snnrun as package
from snnrun import checkpoint
from snnrun.data import Quiet
from snnrun.data.events import EventSource
from snnrun.data.idx import parse_idx, read_bytes
from snnrun.data.nmnist import read_recording
from snnrun.data.store import Recording, open_store
from snnrun.errors import UserError
from snnrun.resume import compose_resume

ROOT = Path(__file__).resolve().parent.parent
COUNTS = [pytest.param(1, id="few"), pytest.param(12, id="bulk", marks=pytest.mark.slow)]

events = st.lists(
    st.tuples(st.integers(0, 33), st.sampled_from([0, 5, 33, 240]), st.binary(min_size=3, max_size=3)), max_size=60
).map(lambda rows: b"".join(bytes((x, y)) + time for x, y, time in rows))


@pytest.mark.parametrize("times", COUNTS)
def test_event_files(times: int, tmp_path: Path) -> None:
    path, number = tmp_path / "a.bin", iter(range(10**6))

    def attempt(content: bytes) -> str:
        path.write_bytes(content)
        try:
            store = open_store(
                f"t{next(number)}", [Recording(path, "a.bin", 3)], read_recording, tmp_path / "cache", Quiet()
            )
        except UserError as error:
            return "error" if str(path) in str(error) else "does not name the file"
        raw = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(np.int64)
        clock, expected = 0, set()
        for x, y, high, middle, low in raw.tolist():
            if y == 240:
                clock += 8192
                continue
            step = (clock + ((high & 127) << 16 | middle << 8 | low)) * 30 // 300_000
            if step < 30:
                expected.add((step, ((high >> 7) * 34 + y) * 34 + x))
        dense = EventSource(store, (2, 34, 34), 30, 300_000).spikes(np.array([0])).dense()
        assert {tuple(place) for place in dense.flatten(1).nonzero().tolist()} == expected
        return "right"

    tried = Tried("event files")
    whole = b"".join(bytes((i % 34, i * 7 % 34)) + (i * 997).to_bytes(3, "big") for i in range(200))
    tried.each(st.one_of(events, damage(whole), st.binary(max_size=100)), 25 * times, attempt)
    assert set(tried.ends) == {"error", "right"}
    path.write_bytes((bytes((0, 240, 0, 0, 0)) * 600_000) + bytes((1, 1, 0, 0, 1)))  # a clock past 32 bits
    assert attempt(path.read_bytes()) == "error"


@pytest.mark.parametrize("times", COUNTS)
def test_idx_files(times: int, tmp_path: Path) -> None:
    whole = struct.pack(">4I", 0x803, 5, 28, 28) + bytes(range(245)) * 16

    def attempt(content: tuple[bytes, bool]) -> str:
        path = tmp_path / ("a.gz" if content[1] else "a")
        path.write_bytes(content[0])
        try:
            array = parse_idx(read_bytes(path), path, 3)
        except UserError as error:
            return "error" if str(path) in str(error) else "does not name the file"
        inner = gzip.decompress(content[0]) if content[1] else content[0]
        assert array.shape == struct.unpack(">3I", inner[4:16])
        assert array.tobytes() == inner[16:]
        return "right"

    shapes = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
    made = st.tuples(shapes, st.binary(max_size=40)).map(lambda two: struct.pack(">4I", 0x803, *two[0]) + two[1])
    packed = gzip.compress(whole, mtime=0)
    anything = st.one_of(damage(whole), made).map(lambda content: (content, False))
    anything |= st.one_of(damage(packed), made.map(gzip.compress)).map(lambda content: (content, True))
    tried = Tried("IDX files")
    tried.each(anything, 25 * times, attempt)
    assert set(tried.ends) <= {"error", "right"}
    assert attempt((whole, False)) == attempt((packed, True)) == "right"


def test_files_that_never_end(tmp_path: Path) -> None:
    """Pipes, devices, sparse files of a terabyte, and an archive that unpacks to one: refused before they are read."""
    import os

    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "sparse", tmp_path / "loop", tmp_path):
        for read in (read_bytes, read_recording, checkpoint.load, verify().load_case):
            with pytest.raises((UserError, verify().NotACase)):
                read(path)
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    with pytest.raises(UserError):
        parse_idx(read_bytes(bomb), bomb, 3)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("meta.npy", bytes(300 << 20))
    with pytest.raises(verify().NotACase, match="unpacks"):
        verify().load_case(tmp_path / "bomb.npz")


def verify(loaded: dict[str, Any] = {}) -> Any:  # noqa: B006, loaded once
    if not loaded:
        spec = importlib.util.spec_from_file_location("verify", ROOT / "scripts" / "verify.py")
        assert spec is not None
        assert spec.loader is not None
        loaded["module"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded["module"])
    return loaded["module"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["fc10", "conv4c3", 10**12]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("times", COUNTS)
def test_golden_cases(times: int, tmp_path: Path) -> None:
    import json

    source = ROOT / "tests" / "golden" / "fc_latency_hybrid.npz"
    arrays = dict(np.load(source))
    meta = json.loads(str(arrays["meta"][()]))
    path = tmp_path / "case.npz"

    def attempt(content: Any) -> str:
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            key, value, array = content
            changed = dict(arrays)
            changed["meta"] = np.array(json.dumps(meta | {key: value}))
            if array is not None:
                changed[array[0]] = array[1]
            np.savez(path, **changed)
        try:
            result = verify().verify(path)
        except verify().NotACase:
            return "error"
        return "passes" if result.passes(1e-4) else "differs"

    shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
    values = st.tuples(
        st.sampled_from(sorted(set(arrays) - {"meta"})), shapes, st.sampled_from(["f4", "f8", "i8", "?", "U3", "c8"])
    )
    other = values.map(lambda three: (three[0], np.ones(three[1], three[2])))
    changed = st.tuples(st.sampled_from([*meta, "new"]), JSON, st.none() | other)
    tried = Tried("golden cases")
    tried.each(st.one_of(damage(source.read_bytes()), changed, changed), 25 * times, attempt)
    assert attempt(source.read_bytes()) == "passes"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("trained")
    snnrun("debug=fast", "logger=none", "model.layers=fc8-out", "trainer.epochs=2", cwd=cwd, check=True)
    return only_run(cwd)


PARTS = st.one_of(
    JSON,
    st.sampled_from(
        [
            torch.zeros(0),
            torch.full((8, 64), math.nan),
            torch.ones(3, dtype=torch.int64),
            torch.ones(1).to_sparse(),
            torch.empty(2, device="meta"),
        ]
    ),
)


@pytest.mark.parametrize("times", COUNTS)
def test_checkpoints(times: int, trained: Path, tmp_path: Path) -> None:
    """Damaged bytes, and parts that are missing or of another kind, for evaluation and for going on."""
    whole = (trained / "checkpoints" / "last.pt").read_bytes()
    path = tmp_path / "checkpoints" / "last.pt"
    path.parent.mkdir()

    def attempt(content: Any) -> str:
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            state = torch.load(io.BytesIO(whole), weights_only=True)
            *parents, last = content[0]
            place = state
            for name in parents:
                place = place[name]
            if content[2]:
                del place[last]
            else:
                place[last] = content[1]
            torch.save(state, path)
        ends = []
        for read in (
            lambda: package.load(str(path)),
            lambda: compose_resume([f"resume={tmp_path}", "trainer.epochs=3"], None),
        ):
            try:
                read()
                ends.append("read")
            except UserError as error:
                ends.append("error" if str(error).isprintable() else "not a line")
        return "+".join(ends)

    state = torch.load(io.BytesIO(whole), weights_only=True)
    places = [(key,) for key in state]
    places += [(key, name) for key in ("config", "network", "optimizer", "train", "random") for name in state[key]]
    places += [
        ("config", group, name)
        for group in state["config"]
        if isinstance(state["config"][group], dict)
        for name in state["config"][group]
    ]
    changed = st.tuples(st.sampled_from(places), PARTS, st.booleans())
    tried = Tried("checkpoints")
    tried.each(st.one_of(damage(whole), changed, changed), 25 * times, attempt)
    assert not [end for end in tried.ends if "line" in end]
    assert attempt(whole) == "read+read"

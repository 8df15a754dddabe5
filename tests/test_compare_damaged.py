"""Whatever a run's folder holds: it is read, or named with the reason; never a traceback, never code that runs."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_runs import make_run
from rich.console import Console

from snnrun.compare.curves import anytime, collect, learning
from snnrun.compare.export import write_csv
from snnrun.compare.report import compare
from snnrun.compare.runs import Aside, Run, find, read
from snnrun.compare.table import show

FILES = ("summary.json", "config.yaml", "metrics.jsonl", "test_curve.json")
EXAMPLES = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(min_value=10**300, max_value=10**310), st.floats(),
    st.text(max_size=20), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
    st.sampled_from(["finished", "running", "nan", "\x1b[31mred", "${oc.env:HOME}", "$x$", "_x", 2**70, -1, {"a": {}}]),
)  # fmt: skip


def whole(folder: Path) -> str:
    """Everything that a comparison does with a folder but plots; what it printed."""
    out = io.StringIO()
    comparison = compare([folder])
    show(comparison, Console(file=out, width=100))
    for table in comparison.tables:
        for row in table.rows:
            for reader in (learning, anytime):
                collect(row.group.runs.values(), reader, [])
    if comparison.tables:
        write_csv(comparison, folder / "all.csv")
    return out.getvalue()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    make_run(tmp_path / "good", "activation", 0)
    return tmp_path


@EXAMPLES
@given(name=st.sampled_from(FILES), content=st.binary(max_size=300))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    run = make_run(folder / "run")
    (run / name).write_bytes(content)
    whole(folder)


@EXAMPLES
@given(name=st.sampled_from(FILES), share=st.floats(0, 1), junk=st.binary(max_size=5))
def test_truncated(tmp_path_factory: pytest.TempPathFactory, name: str, share: float, junk: bytes) -> None:
    folder = tmp_path_factory.mktemp("cut")
    run = make_run(folder / "run", epochs=2, T=10)
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: int(share * len(content))] + junk)
    whole(folder)


def paths(content: Any) -> list[tuple[str, ...]]:
    """Every key in nested objects."""
    if not isinstance(content, dict):
        return []
    return [(key, *rest) for key, value in content.items() for rest in [(), *paths(value)]]


@EXAMPLES
@given(data=st.data(), other=WRONG)
def test_values_of_a_wrong_kind(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, other: Any) -> None:
    folder = tmp_path_factory.mktemp("kind")
    run = make_run(folder / "run", epochs=2, T=10)
    make_run(folder / "good", "activation", epochs=2, T=10)
    for name in ("summary.json", "test_curve.json"):
        content = json.loads((run / name).read_text())
        *path, last = data.draw(st.sampled_from(paths(content)))
        place = content
        for key in path:
            place = place[key]
        if data.draw(st.booleans()):
            place[last] = other
        else:
            del place[last]
        (run / name).write_text(json.dumps(content))
    whole(folder)


@EXAMPLES
@given(row=st.dictionaries(st.sampled_from(["epoch", "val/acc", "val/loss", "val/spikes", "step"]), WRONG))
def test_rows_of_a_wrong_kind(tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    run = make_run(folder / "run", epochs=2, T=10)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    whole(folder)


BOMB = "\n".join([f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" if i else "a0: &a0 [1, 2, 3]" for i in range(12)])


@pytest.mark.parametrize(
    "content",
    ["", "[1, 2]", "just a word", "a: &a [*a]", "a: &a {b: *a}", BOMB, BOMB.replace("[1, 2, 3]", "{}"), "[" * 9000,
     "d: 2001-99-99", "n: " + "9" * 6000, "x: !!python/object/apply:os.system ['touch /tmp/pwned']"],
)  # fmt: skip
def test_hostile_yaml(good: Path, content: str) -> None:
    run = make_run(good / "bad", "hybrid")
    (run / "config.yaml").write_text(content)
    found = find([good])
    assert [aside.state for aside in found.aside] == ["damaged"]
    assert "config.yaml" in found.aside[0].why
    assert "config.yaml" in whole(good)
    assert not Path("/tmp/pwned").exists()


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000, "NaN", '{"status": "finished"', "null", '"finished"'])
def test_hostile_json(good: Path, content: str) -> None:
    run = make_run(good / "bad")
    (run / "summary.json").write_text(content)
    assert "damaged: " in whole(good)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"test": {"acc": 7.3, "loss": 1.0}}, "test/acc is 7.3"),
        ({"test": {"acc": 0.9, "spikes": -1.0}}, "test/spikes is -1"),
        ({"test": {}}, "neither a test accuracy nor a test loss"),
        ({"test": None}, "no test metrics"),
        ({"test": {"acc": float("nan"), "loss": float("inf")}}, "neither"),
        ({"method": None}, "does not name its method"),
        ({"seed": "0"}, "seed"),
        ({"T": 0}, "its T"),
        ({"T": 10**12}, "its T"),
        ({"status": "fine"}, "no known status"),
        ({"status": "running", "pid": -1}, "not in which process"),
    ],
)
def test_what_cannot_be_is_named(good: Path, change: dict[str, Any], why: str) -> None:
    run = make_run(good / "bad")
    content = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(content | change))
    record = read(good / "bad")
    assert isinstance(record, Aside)
    assert record.state == "damaged"
    assert why in record.why
    assert isinstance(read(good / "good"), Run)


def test_files_that_are_none(good: Path) -> None:
    for name in FILES:
        run = make_run(good / f"folder_{name}", "hybrid", 1)
        (run / name).unlink()
        (run / name).mkdir()
        run = make_run(good / f"pipe_{name}", "hybrid", 2)
        (run / name).unlink()
        os.mkfifo(run / name)
        run = make_run(good / f"gone_{name}", "hybrid", 3)
        (run / name).unlink()
    (good / "loop").symlink_to(good)
    found = find([good])
    # without its summary a folder is told by .hydra only; curves are not needed for the table
    assert {aside.folder.name.split("_", 1)[1] for aside in found.aside} == {"summary.json", "config.yaml"}
    whole(good)


def test_huge_files_are_not_read(good: Path) -> None:
    for name in FILES:
        run = make_run(good / f"huge_{name}", "hybrid", 1)
        with (run / name).open("r+b") as file:
            file.truncate(300 << 20)
    assert len(find([good]).aside) == 2
    whole(good)


def test_a_run_that_lost_its_summary_is_named(good: Path) -> None:
    (good / "killed" / ".hydra").mkdir(parents=True)
    (aside,) = find([good]).aside
    assert (aside.state, aside.why) == ("damaged", "summary.json is missing")


def test_a_strangers_text_does_not_drive_the_terminal(good: Path) -> None:
    make_run(good / "bad", status="failed", error="\x1b]0;title\x07\x1b[2J" + "x" * 10_000)
    make_run(good / "worse", "\x1b[31m[bold]mine[/nothing]")
    out = whole(good)
    assert "\x1b" not in out
    assert "[bold]mine[/nothing]" in out
    assert len(out) < 5000


@pytest.mark.parametrize(
    "curve", [{}, {"step": [0, 1], "acc": [0.1], "spikes": [1, 2], "decided": [0, 1]}, {"step": 3}]
)
def test_a_damaged_curve_leaves_the_table(good: Path, curve: dict[str, Any]) -> None:
    run = make_run(good / "run", "hybrid")
    (run / "test_curve.json").write_text(json.dumps(curve))
    (run / "metrics.jsonl").write_text("what?\n{}\n")
    command = [sys.executable, "-m", "snnrun.compare.cli", str(good)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "hybrid" in done.stdout
    assert "curves are missing from plots" in done.stdout
    assert done.stderr == ""


def test_a_killed_run_keeps_its_whole_rows(good: Path) -> None:
    run = make_run(good / "run", epochs=3)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "val/lo')
    record = read(run)
    assert isinstance(record, Run)
    assert list(learning(record)["epoch"]) == [1, 2, 3]

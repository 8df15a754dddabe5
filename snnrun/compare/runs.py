"""Finds runs on disk and reads each into a small record; what cannot be compared is set aside with its reason."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from snnrun.compare.reading import Damaged, clean, number, read_json, read_settings, read_yaml
from snnrun.errors import UserError
from snnrun.rundir import is_alive

# options that do not change what is learnt: two runs that differ in nothing else are the same run, made twice
_INDIFFERENT = {
    "experiment_name", "mode", "checkpoint", "resume", "plugins", "dataset.root", "dataset.workers", "trainer.device",
    "trainer.kernel", "trainer.threads", "trainer.eval_batch_size", "trainer.checkpoint_minutes",
}  # fmt: skip
_SHARES = ("acc", "acc_count", "acc_first", "undecided")
_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        config: its resolved config, dotted keys.
        facts: what else it may be grouped by: names of its components, T, kernel, device, commit ...
        test: metrics on the test split; train_s among them. Keys without a number are left out.
        overrides: what its command line said, where Hydra kept it.
        started: seconds since 1970.
    """

    folder: Path
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    test: Mapping[str, float]
    overrides: Mapping[str, str]
    started: float

    @property
    def name(self) -> str:
        """Its folder, as short as can be."""
        return short_path(self.folder)

    @cached_property
    def options(self) -> dict[str, Any]:
        """The part of its config that decides what is learnt, the seed included."""
        return {
            key: value
            for key, value in self.config.items()
            if key not in _INDIFFERENT and not key.startswith(("logger.", "hydra."))
        }

    def value(self, key: str) -> Any:
        """The value of a dotted config key, a group's name or a fact; None where the run has none."""
        for source in (self.facts, self.config, self.overrides):
            if key in source:
                return source[key]
        return None


@dataclass(frozen=True)
class Aside:
    """A run that cannot be compared.

    Attributes:
        state: failed, interrupted, running, damaged, test (an evaluation) or debug.
        what: its options as given on the command line, where known.
    """

    folder: Path
    state: str
    why: str
    what: str = ""

    @property
    def name(self) -> str:
        """Its folder, as short as can be."""
        return short_path(self.folder)


@dataclass
class Found:
    """All runs below some folders, in the order of their folders' names."""

    runs: list[Run] = field(default_factory=list)
    aside: list[Aside] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Runs of every kind."""
        return len(self.runs) + len(self.aside)


def find(folders: Sequence[Path], with_debug: bool = False) -> Found:
    """Read all runs in and below the folders.

    Args:
        with_debug: take debug runs (``debug=...``) even if their folder is not the one named.

    Raises:
        UserError: a folder does not exist.
    """
    found, seen = Found(), set()
    for top in folders:
        if not top.is_dir():
            raise UserError(f"{top} is not a folder", "Name a run, a sweep, or a folder that holds some")
        for folder in _run_folders(top, found.aside):
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            record = read(folder)
            if isinstance(record, Aside):
                found.aside.append(record)
            elif with_debug or record.config.get("experiment_name") != "debug" or _is_named(folder, top):
                found.runs.append(record)
            else:
                found.aside.append(Aside(folder, "debug", "a few batches only; name its folder to see it"))
    return found


def read(folder: Path) -> Run | Aside:
    """Read one run's folder; whatever it holds, this does not raise."""
    try:
        summary = read_json(folder / "summary.json")
        status, error = summary.get("status"), summary.get("error")
        why = clean(error) if isinstance(error, str) else ""
        if summary.get("mode") == "test":
            return Aside(folder, "test", "an evaluation of a checkpoint, not a training")
        if status == "finished":
            return _finished(folder, summary)
        if status == "running":
            status, why = _running(summary)
        if status not in ("failed", "interrupted", "running"):
            raise Damaged("summary.json has no known status")
        return Aside(folder, status, why or "no reason is recorded", " ".join(_task(folder)))
    except Damaged as damage:
        return Aside(folder, "damaged", str(damage), " ".join(_task(folder)))


def short_path(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    return clean(min(os.path.relpath(path), str(path), key=len))


def _run_folders(top: Path, aside: list[Aside]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        aside.append(Aside(Path(error.filename), "damaged", f"cannot be read ({error.strerror})"))

    for path, folders, files in os.walk(top, onerror=unreadable):
        # a run that was killed early, or lost its summary, is still told by what Hydra and snnrun wrote around it
        if "summary.json" in (*files, *folders) or (".hydra" in folders and "multirun.yaml" not in files):
            folders.clear()
            yield Path(path)
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Job 10 after job 9."""
    parts = re.findall(r"\d{1,15}|\D+|\d+", name)
    return [
        (int(part), "") if part.isascii() and part.isdigit() and len(part) < 16 else (0, part) for part in parts
    ], name


def _is_named(folder: Path, top: Path) -> bool:
    folder, top = folder.resolve(), top.resolve()
    return top in (folder, folder.parent) or top.name == "debug"


def _finished(folder: Path, summary: Mapping[str, Any]) -> Run:
    test = summary.get("test")
    if not isinstance(test, dict):
        raise Damaged("summary.json says finished, but holds no test metrics")
    metrics = {key: value for key in test if (value := number(test[key])) is not None}
    for key, value in metrics.items():
        if key != "loss" and (value < 0 or (key in _SHARES and value > 1)):
            raise Damaged(f"summary.json: test/{clean(key)} is {value:g}, which cannot be")
    if "acc" not in metrics and "loss" not in metrics:
        raise Damaged("summary.json has neither a test accuracy nor a test loss")
    names = {key: summary.get(key) for key in ("method", "loss", "model", "dataset")}
    for key, name in names.items():
        if not isinstance(name, str) or not name:
            raise Damaged(f"summary.json does not name its {key}")
    seed, T = summary.get("seed"), summary.get("T")
    if not isinstance(seed, int) or isinstance(seed, bool) or abs(seed) > 2**63:
        raise Damaged("summary.json does not give its seed")
    if not isinstance(T, int) or isinstance(T, bool) or not 1 <= T <= _MOST_STEPS:
        raise Damaged("summary.json does not give its T")
    train_s = number(_part(summary, "time").get("train_s"))
    if train_s is not None and train_s >= 0:
        metrics["train_s"] = train_s
    config = read_settings(folder / "config.yaml")
    versions, data = _part(summary, "versions"), _part(summary, "data")
    facts = {
        **{key.removesuffix(".name"): value for key, value in config.items() if key.endswith(".name")},
        **{key: _word(name) for key, name in names.items()},
        "seed": seed,
        "T": T,
        **{key: _word(summary.get(key)) for key in ("kernel", "device", "threads", "host", "group")},
        "code": f"{_word(versions.get('snnrun'))} {_word(versions.get('commit'))}",
        "torch": _word(versions.get("torch")),
        "data": _word(data.get("hash")),
    }
    return Run(folder, config, facts, metrics, _overrides(folder), _started(folder, summary))


def _running(summary: Mapping[str, Any]) -> tuple[str, str]:
    """State and reason of a run whose summary says that it is running."""
    pid, host = summary.get("pid"), summary.get("host")
    if not isinstance(pid, int) or isinstance(pid, bool) or not 0 < pid < 2**31 or not isinstance(host, str):
        raise Damaged("summary.json says running, but not in which process")
    if host != socket.gethostname():
        return "running", f"in process {pid} on {clean(host)}, which cannot be seen from here"
    if is_alive(pid, summary.get("pid_started")):
        return "running", f"in process {pid}"
    return "interrupted", f"its process {pid} is gone"


def _started(folder: Path, summary: Mapping[str, Any]) -> float:
    try:
        return datetime.datetime.fromisoformat(_word(summary.get("started"))).timestamp()
    except (ValueError, OverflowError, OSError):
        with contextlib.suppress(OSError):
            return (folder / "summary.json").stat().st_mtime
        return 0.0


def _overrides(folder: Path) -> dict[str, str]:
    pairs = (text.lstrip("+~").partition("=") for text in _task(folder))
    return {key: value for key, equals, value in pairs if equals}


def _task(folder: Path) -> list[str]:
    """The command line of a run as Hydra keeps it; empty where it does not."""
    try:
        content = read_yaml(folder / ".hydra" / "overrides.yaml")
    except Damaged:
        return []
    return [clean(text) for text in content if isinstance(text, str)] if isinstance(content, list) else []


def _word(value: Any) -> str:
    return clean(str(value)) if isinstance(value, str | int | float) else "unknown"


def _part(summary: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = summary.get(key)
    return part if isinstance(part, dict) else {}

"""scripts/reproduce.sh: every option that it gives exists and fits; what is missing is one line."""

import os
import subprocess
from pathlib import Path

import pytest

from snnrun.sweep import check_sweep

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "reproduce.sh"
STUB = '#!/usr/bin/env bash\nprintf "%s\\n" "$(basename "$0")" "$@" "" >> "$CALLS"\n'


def calls(tmp_path: Path, *arguments: str, **env: str) -> list[list[str]]:
    """The commands that the script gives, each as its words."""
    for name in ("snnrun", "snnrun-compare", "python"):
        (tmp_path / name).write_text(STUB)
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "calls"
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "CALLS": str(log), "JOBS": "2", **env}
    subprocess.run([str(SCRIPT), *arguments], env=env, check=True, capture_output=True, timeout=60)
    return [call.split("\n") for call in log.read_text().strip().split("\n\n")]


@pytest.mark.parametrize("size", ["quick", "full"])
def test_every_sweep_can_begin(size: str, tmp_path: Path) -> None:
    commands = calls(tmp_path, size, str(tmp_path), str(tmp_path / "out"), "logger=none")
    sweeps = [words for words in commands if words[0] == "snnrun"]
    assert len(sweeps) == 11
    folders = set()
    for name, flag, *overrides in sweeps:
        assert (name, flag) == ("snnrun", "-m")
        assert "logger=none" in overrides
        sweep = check_sweep(overrides, None)
        folders.add(sweep.folder)
        assert sweep.config is not None, "a method that cannot learn from its loss"
    assert len(folders) == len(sweeps)
    compared = [Path(words[1]) for words in commands if words[0] == "snnrun-compare"]
    assert len(compared) == 5
    assert all(any(folder.is_relative_to(root) for root in compared) for folder in folders)


def test_one_experiment_alone(tmp_path: Path) -> None:
    commands = calls(tmp_path, "full", str(tmp_path), str(tmp_path / "out"), EXPERIMENTS="nmnist_tuned")
    assert [words[0] for words in commands] == ["snnrun", "snnrun", "snnrun", "snnrun-compare", "python"]


@pytest.mark.parametrize(
    ("arguments", "said"), [((), "quick DATA_ROOT"), (("small", "."), "quick DATA_ROOT"), (("quick", "/no"), "/no")]
)
def test_what_is_missing_is_said(arguments: tuple[str, ...], said: str) -> None:
    result = subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert said in result.stderr

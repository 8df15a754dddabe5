"""Kills before the first checkpoint: there is nothing to go on from, each command says so, and the run begins anew."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import snnrun
from kills import CODES, popen, results, undisturbed

from snnrun import cli
from snnrun.compare import cli as compare
from snnrun.rundir import LAST, status

FAST = ("debug=fast", "logger=none", "trainer.threads=1")

# what lies in the folder at the moment meant; the process is caught by a look every millisecond
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "Hydra begins": lambda run_dir: (run_dir / ".hydra").is_dir(),
    "data and network are built": lambda run_dir: (run_dir / "summary.json").exists(),
    "last.pt is written": lambda run_dir: False,  # that lasts less than a millisecond: the process kills itself there
}
KILLS_ITSELF = """
import os, pathlib, signal
replace = pathlib.Path.replace
def killed(path, target):
    if path.name == "last.pt.tmp":
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)
pathlib.Path.replace = killed
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Results of a run that was left alone."""
    return undisturbed(tmp_path_factory.mktemp("alone") / "whole", *FAST)


@pytest.mark.parametrize(
    ("moment", "signum"),
    [
        ("Hydra begins", signal.SIGKILL),
        pytest.param("Hydra begins", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("Hydra begins", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("data and network are built", signal.SIGINT, marks=pytest.mark.slow),
        ("data and network are built", signal.SIGTERM),
        pytest.param("data and network are built", signal.SIGKILL, marks=pytest.mark.slow),
        ("last.pt is written", signal.SIGKILL),
    ],
)
def test_there_is_one_line_from_each_command_and_the_same_command_begins_anew(
    moment: str,
    signum: signal.Signals,
    whole: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("outputs/debug/cut")
    command = (*FAST, f"hydra.run.dir={folder}")
    hook = tmp_path / "hook"
    hook.mkdir()
    if moment == "last.pt is written":
        (hook / "sitecustomize.py").write_text(KILLS_ITSELF)
    process = popen(*command, cwd=tmp_path, PYTHONPATH=str(hook))
    while not MOMENTS[moment](folder) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in CODES[signum], errors
    assert len(errors.splitlines()) == (process.returncode > 0), errors
    assert not (folder / LAST).exists()
    assert (folder / f"{LAST}.tmp").exists() == (moment == "last.pt is written")
    assert status(folder) == ("interrupted" if (folder / "summary.json").exists() else "")

    def line(main: Callable[[list[str]], int], *arguments: str) -> str:
        assert main(list(arguments)) == 2
        (said,) = capsys.readouterr().err.splitlines()
        return said

    for said, expected in (
        (line(cli.main, f"resume={folder}"), f"{folder} holds no checkpoint, no run came to its first step there"),
        (line(cli.main, *FAST, "resume=auto"), "no interrupted run of this config is in outputs/debug"),
        (line(compare.main, str(folder)), f"no finished runs in {folder} (there: 1 "),
    ):
        assert said.startswith(f"snnrun: error: {expected}")
    snnrun(*command, cwd=tmp_path, check=True)
    assert results(folder) == whole
    assert list(folder.rglob("*.tmp")) == []
    assert compare.main([str(folder)]) == 0

"""Whatever is typed: it trains, or ends with exit code 2 and one line; a wrong option leaves no folder."""

import io
import os
import re
import time
from collections import Counter
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from any_options import ANY_SETS, SMALL
from cli import run_dirs, snnrun, summary
from hypothesis import HealthCheck, Phase, given, settings

from snnrun import cli

# what only a run can find out, and leaves in its folder
LATER = re.compile(r"not finite|leaves a part empty|memory of this machine|GB or more|cannot be downloaded")
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


class Tally:
    """What became of the command lines, and which took longest."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.slowest = (0.0, [""])

    def __str__(self) -> str:
        return f"{sum(self.ends.values())} command lines: {dict(self.ends)}; slowest {self.slowest[0]:.1f} s"


def judge(code: int, errors: str, cwd: Path, arguments: list[str]) -> str:
    """Hold what a command line ended with to the promise; returns how it ended."""
    about = f"{arguments!r}\n{errors}"
    assert code in (0, 2), about
    assert "Traceback" not in errors, about
    left = sorted(set(os.listdir(cwd)) - {"__pycache__"})  # noqa: PTH208
    if code == 0:
        return "trained" if run_dirs(cwd) or left else "printed"
    lines = errors.splitlines()
    assert len(lines) == 1, about
    assert lines[0].startswith("snnrun: error: "), about
    assert lines[0].isprintable(), about
    if not left:
        return "refused"
    assert LATER.search(lines[0]) or "jobs" in lines[0], about
    assert all(summary(run)["status"] == "failed" for run in run_dirs(cwd)), about
    return "failed"


def try_out(arguments: list[str], cwd: Path, tally: Tally) -> None:
    out, errors = io.StringIO(), io.StringIO()
    started = time.process_time()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(errors):
        code = cli.main([*SMALL, *arguments])
    seconds = time.process_time() - started
    tally.slowest = max(tally.slowest, (seconds, arguments))
    assert seconds < 60, arguments  # of CPU; the first one may compile
    tally.ends[judge(code, errors.getvalue(), cwd, arguments)] += 1


def fuzz(examples: int, factory: pytest.TempPathFactory) -> Tally:
    tally = Tally()

    # the short version draws the same each time: what the bulk finds is for the bulk
    @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate], derandomize=examples < 100, **QUIET)
    @given(arguments=ANY_SETS)
    def each(arguments: list[str]) -> None:
        try_out(arguments, factory.mktemp("any"), tally)

    each()
    print(tally)
    return tally


def test_any_options(tmp_path_factory: pytest.TempPathFactory) -> None:
    tally = fuzz(25, tmp_path_factory)
    assert tally.ends["refused"]


@pytest.mark.slow
def test_any_options_in_bulk(tmp_path_factory: pytest.TempPathFactory) -> None:
    tally = fuzz(600, tmp_path_factory)
    assert sum(tally.ends.values()) >= 300
    assert tally.ends["trained"] >= 50
    assert tally.ends["refused"] >= 100


@pytest.mark.slow
def test_any_options_as_commands(tmp_path_factory: pytest.TempPathFactory) -> None:
    ends: Counter[str] = Counter()

    @settings(max_examples=20, phases=[Phase.generate], **QUIET)
    @given(arguments=ANY_SETS.filter(lambda arguments: not any("\0" in argument for argument in arguments)))
    def each(arguments: list[str]) -> None:
        cwd = tmp_path_factory.mktemp("command")
        result = snnrun(*SMALL, *arguments, cwd=cwd)
        ends[judge(result.returncode, result.stderr, cwd, arguments)] += 1

    each()
    print(f"{sum(ends.values())} commands: {dict(ends)}")

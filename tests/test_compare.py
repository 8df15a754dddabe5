"""The command snnrun-compare."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli import environment
from comparisons import three_methods
from made_up_runs import make_run

from snnrun.compare import cli as compare_cli


def run(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snnrun.compare.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=60)


def test_the_command(tmp_path: Path) -> None:
    three_methods(tmp_path / "sweep")
    done = run("sweep", "--csv", "t/a.csv", "--latex", "t/a.tex", "--baseline", "timing", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "points over timing" in done.stdout
    assert "activation 90.1 ± 0.1 %, -2.1 [-2.2, -2.0] points against timing with 44 % fewer spikes" in done.stdout
    assert (tmp_path / "t" / "a.csv").is_file()
    assert (tmp_path / "t" / "a.tex").is_file()
    assert len(list((tmp_path / "sweep" / "comparison").glob("*.svg"))) == 4
    done = run("sweep/0_0", "sweep/2_0", "--by", "method", "--by", "loss,T", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comparison" / "accuracy_spikes.png").is_file()
    done = run("sweep/0_0", "--out", "elsewhere", cwd=tmp_path)
    assert (tmp_path / "elsewhere" / "accuracy_spikes.png").is_file()
    assert not (tmp_path / "sweep" / "0_0" / "comparison").exists()


def test_the_script_is_the_command(tmp_path: Path) -> None:
    three_methods(tmp_path)
    script = Path(__file__).resolve().parent.parent / "scripts" / "compare.py"
    command = [sys.executable, str(script), str(tmp_path), "--no-plots"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "hybrid" in done.stdout
    assert not (tmp_path / "comparison").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere is not a folder"),
        ([], "the following arguments are required: DIR"),
        (["sweep", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["sweep", "--by", "colour"], "no run has the option colour"),
        (["sweep", "--baseline", "nobody"], "no group is the baseline 'nobody'"),
        (["empty"], "no finished runs in empty (there: no runs at all)"),
        (["sweep", "--no-plots", "--csv", "file/a.csv"], "file/a.csv cannot be written"),
        (["sweep", "--out", "file"], "plots cannot be written to file"),
    ],
)
def test_what_a_user_can_get_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    three_methods(tmp_path / "sweep", seeds=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    assert compare_cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("snnrun: error: ")
    assert said in error
    assert error.count("\n") == 1


def test_failed_runs_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "0", status="failed", error="no luck")
    assert compare_cli.main([str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "no luck" in captured.out
    assert "(there: 1 failed)" in captured.err


def test_a_terminal_without_unicode(tmp_path: Path) -> None:
    three_methods(tmp_path)
    make_run(tmp_path / "x", "größer", 0)
    done = run(str(tmp_path), "--no-plots", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert "90.1 +- 0.1" in done.stdout


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    three_methods(tmp_path)
    command = f"{sys.executable} -m snnrun.compare.cli {tmp_path} --no-plots | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout) == 0

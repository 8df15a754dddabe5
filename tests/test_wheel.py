"""The wheel works without the checkout: built, installed in another environment, run from an unrelated folder."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from cli import environment, only_run, summary

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_wheel_trains_from_an_unrelated_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")

    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    # dependencies come from this environment; its own editable snnrun does not, for .pth files do not nest
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    here = tmp_path / "elsewhere"
    here.mkdir()
    where = [python, "-c", "import snnrun; print(snnrun.__file__)"]
    found = subprocess.run(where, cwd=here, check=True, capture_output=True, text=True).stdout
    assert str(tmp_path / "venv") in found
    command = str(tmp_path / "venv" / "bin" / "snnrun")
    for arguments in (["--cfg", "job"], ["--help"], ["debug=fast"]):
        result = subprocess.run([command, *arguments], cwd=here, env=environment(), capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert summary(only_run(here))["status"] == "finished"

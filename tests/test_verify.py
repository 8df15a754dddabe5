"""Gradients against the published program, through the script that users run."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
CASES = sorted((ROOT / "tests" / "golden").glob("*.npz"))


def verify(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "verify.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_every_reference_case_is_reproduced() -> None:
    result = verify(*CASES)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(CASES) == 15
    assert result.stdout.count(" ok") == 15


def test_a_tolerance_below_rounding_fails() -> None:
    result = verify(CASES[0], "--tol", "1e-9")
    assert result.returncode == 1
    assert "FAIL" in result.stdout


@pytest.mark.parametrize("key", ["gw0", "gb1", "loss", "spikes_total", "output"])
def test_a_changed_reference_is_noticed(tmp_path: Path, key: str) -> None:
    arrays = dict(np.load(ROOT / "tests" / "golden" / "fc_latency_hybrid.npz"))
    arrays[key] = ~arrays[key] if arrays[key].dtype == bool else arrays[key] + arrays[key].dtype.type(1)
    np.savez(tmp_path / "changed.npz", **arrays)
    assert verify(tmp_path / "changed.npz").returncode == 1


@pytest.mark.parametrize(
    "content", [b"", b"not a zip", (ROOT / "tests/golden/fc_latency_hybrid.npz").read_bytes()[:900]]
)
def test_a_file_that_is_no_case_exits_2_with_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    result = verify(tmp_path / "bad.npz")
    assert result.returncode == 2
    assert "bad.npz is not a reference case" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_case_without_one_array_exits_2(tmp_path: Path) -> None:
    arrays = dict(np.load(CASES[0]))
    del arrays["w0"]
    np.savez(tmp_path / "partial.npz", **arrays)
    result = verify(tmp_path / "partial.npz")
    assert result.returncode == 2
    assert "w0" in result.stderr


def test_a_missing_file_exits_2(tmp_path: Path) -> None:
    assert verify(tmp_path / "nothing.npz").returncode == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reference_that_is_not_finite_never_passes(tmp_path: Path, value: float) -> None:
    arrays = dict(np.load(CASES[0]))
    arrays["gw0"] = np.full_like(arrays["gw0"], value)
    np.savez(tmp_path / "changed.npz", **arrays)
    assert verify(tmp_path / "changed.npz").returncode == 1


def test_a_case_that_compares_no_step_is_no_case(tmp_path: Path) -> None:
    arrays = dict(np.load(ROOT / "tests" / "golden" / "fc_count_hybrid.npz"))
    arrays |= {"term": np.int64(0), "output": arrays["output"][:, :0]}
    np.savez(tmp_path / "empty.npz", **arrays)
    result = verify(tmp_path / "empty.npz")
    assert result.returncode == 2
    assert "term is 0" in result.stderr

"""The benchmark script, run as users run it, on its smallest case."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli import environment

ROOT = Path(__file__).resolve().parent.parent
IMPLS = {"snnrun-cpu", "snnrun-cuda", "snnrun-reference", "spikingjelly", "snntorch", "norse", "limit"}


def benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=240)


def test_rows_table_and_plot(tmp_path: Path) -> None:
    out = tmp_path / "new" / "speed.json"
    result = benchmark("--cases", "tiny", "--quick", "--rounds", 1, "--threads", 1, "--out", out)
    assert result.returncode == 0, result.stderr
    rows = json.loads(out.read_text())
    measured = {row["impl"] for row in rows}
    assert {"snnrun-reference", "limit"} <= measured <= IMPLS
    assert len(rows) == 2 * len(measured)
    for row in rows:
        assert set(row) == {"case", "T", "batch", "impl", "pass", "ms", "spread_ms", "peak_mb"}
        assert (row["case"], row["T"], row["batch"]) == ("tiny", 30, 4)
        assert row["pass"] in ("train", "infer")
        assert row["ms"] > 0
        assert row["spread_ms"] >= 0
        assert row["peak_mb"] is None or row["peak_mb"] >= 0
    by_key = {(row["impl"], row["pass"]): row["ms"] for row in rows}
    for impl in measured - {"limit"}:
        assert by_key["limit", "train"] < by_key[impl, "train"]
        assert by_key["limit", "infer"] < by_key[impl, "infer"]
    for impl in ("spikingjelly", "snntorch", "norse"):
        assert impl in measured or f"{impl} " in result.stdout  # with the reason beside it
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "GB/s" in result.stdout


def test_ratios_of_scaling_and_of_a_method_of_ones_own(tmp_path: Path) -> None:
    out = tmp_path / "ratios.json"
    result = benchmark(
        "--cases",
        "tiny",
        "--quick",
        "--rounds",
        1,
        "--impls",
        "snnrun-reference",
        "--scaling",
        "--own-method",
        "--out",
        out,
    )
    assert result.returncode == 0, result.stderr
    names = {row["case"] for row in json.loads(out.read_text())}
    assert names == {"tiny", "tiny-base", "tiny-in80", "tiny-T60", "tiny-b8", "tiny-hybrid", "tiny-triangle"}
    assert all(bar in result.stdout for bar in ("1.10", "2.20", "2.10", "1.50"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "speed.txt"], ".json"),
        (["--cases", "nmnist", "--data", "/nowhere"], "/nowhere"),
    ],
)
def test_a_wrong_option_ends_with_one_line(arguments: list[str], said: str) -> None:
    result = benchmark(*arguments)
    assert result.returncode == 2
    assert said in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr

"""500 runs are compared, plots included, in under 10 s and below 500 MB; starting takes no torch."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli import environment
from made_up_runs import add_overrides, make_run

COMPARE = [sys.executable, "-m", "snnrun.compare.cli"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_500_runs(tmp_path: Path) -> None:
    for number in range(500):
        method = ("activation", "timing", "hybrid", "mine", "yours")[number % 5]
        lr, seed = (1e-3, 2e-3)[number // 5 % 2], number // 10
        acc, spikes = 0.9 + seed / 1e4 + number % 5 / 100, 100 + seed + 50 * (number % 5)
        run = make_run(tmp_path / str(number), method, seed, acc, spikes, T=300, epochs=50, config={"optimizer.lr": lr})
        add_overrides(run, f"method={method}", f"seed={seed}", f"optimizer.lr={lr}")
    (tmp_path / "multirun.yaml").write_text("hydra: {}\n")
    before, used_before = time.perf_counter(), os.times()
    # the peak from /proc: that of getrusage may be the parent's
    peak = (
        "import sys; from snnrun.compare.cli import main; main(sys.argv[1:]); print(open('/proc/self/status').read())"
    )
    command = [sys.executable, "-c", peak, str(tmp_path), "--csv", str(tmp_path / "all.csv")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    seconds, used = time.perf_counter() - before, os.times()
    busy = used.children_user + used.children_system - used_before.children_user - used_before.children_system
    megabytes = int(re.findall(r"VmHWM:\s+(\d+) kB", done.stdout)[0]) / 1024
    print(f"\n500 runs compared and plotted in {seconds:.1f} s ({busy:.1f} s of a core) with {megabytes:.0f} MB")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 11
    assert done.stdout.count(" over activation lr=") == 8
    assert len(list((tmp_path / "comparison").iterdir())) == 8
    assert busy < 10  # of its own: other processes may be at work beside it
    assert megabytes < 500


def test_help_is_quick_and_needs_no_torch() -> None:
    code = (
        "import sys; from snnrun.compare import cli, sweep_end\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'hydra', 'wandb', 'omegaconf'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, timeout=60)
    before = time.perf_counter()
    done = subprocess.run([*COMPARE, "--help"], env=environment(), capture_output=True, text=True, check=True)
    assert "--baseline" in done.stdout
    assert time.perf_counter() - before < 2


def test_a_comparison_never_imports_torch(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "activation")
    make_run(tmp_path / "b", "hybrid")
    code = (
        "import sys; from snnrun.compare.cli import main; code = main(sys.argv[1:])\n"
        "assert code == 0 and 'torch' not in sys.modules and 'hydra' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment(), check=True, timeout=60)

"""``--along``: groups that differ in one option of numbers are joined to a curve."""

from pathlib import Path

import pytest
from made_up_runs import make_run

from snnrun.compare.cli import main
from snnrun.compare.report import compare
from snnrun.compare.tradeoff import lines_of, trade_off

WEIGHTS = (0.0, 0.01, 0.001)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for method in ("activation", "hybrid"):
        for weight in WEIGHTS:
            for seed in (0, 1):
                make_run(
                    tmp_path / f"{method}_{weight}_{seed}",
                    method,
                    seed,
                    acc=0.95 - weight,
                    spikes=100 / (1 + 500 * weight) + seed,
                    loss="spike_train",
                    config={"loss.rate_weight": weight},
                )
    return tmp_path


def test_lines_hold_a_methods_groups_in_the_options_order(runs: Path) -> None:
    (table,) = compare([runs], along="loss.rate_weight").tables
    lines = lines_of(table, "loss.rate_weight")
    assert list(lines) == ["activation", "hybrid"]
    for rows in lines.values():
        assert [row.group.key["loss.rate_weight"] for row in rows] == sorted(WEIGHTS)
        assert [row.n for row in rows] == [2, 2, 2]


def test_the_curve_goes_through_the_means(runs: Path) -> None:
    axes = trade_off(compare([runs], along="loss.rate_weight").tables, "loss.rate_weight").axes[1]
    for line in (line for line in axes.lines if len(line.get_xdata()) == len(WEIGHTS)):
        assert line.get_xdata() == pytest.approx([100.5, 100 / 1.5 + 0.5, 100 / 6 + 0.5])
        assert line.get_ydata() == pytest.approx([95.0, 94.9, 94.0])
    assert axes.get_xscale() == "log"
    assert {text.get_text() for text in axes.texts} == {"0", "1e-3", "0.01"}


def test_the_command_draws_it(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(runs), "--along", "loss.rate_weight", "--out", str(tmp_path / "figures")]) == 0
    assert "trade_off" in capsys.readouterr().out
    assert (tmp_path / "figures" / "trade_off.png").stat().st_size > 10_000
    assert (tmp_path / "figures" / "trade_off.svg").exists()


def test_an_option_that_makes_no_curve_is_said_so(runs: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(runs), "--along", "optimizer.lr"]) == 0
    assert "no groups differ in optimizer.lr alone" in capsys.readouterr().out
    assert main([str(runs), "--along", "loss.rate_weigt"]) == 2
    assert "Did you mean loss.rate_weight?" in capsys.readouterr().err

"""Comparisons: what is shown on the screen and written to files."""

import csv
from pathlib import Path

import pytest
from comparisons import text, three_methods
from made_up_runs import make_run

from snnrun.compare.export import write_csv, write_latex
from snnrun.compare.report import compare


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", ["hybrid", "a_method_of_somebody_who_likes_long_names_and_has_a_wide_screen"])
def test_every_number_fits(tmp_path: Path, width: int, name: str) -> None:
    for seed in range(5):
        make_run(tmp_path / f"a{seed}", "activation", seed, 0.9 + seed / 1000, 40 + seed)
        make_run(tmp_path / f"b{seed}", name, seed, 0.95 + seed / 500, 4000.5 + 11 * seed)
    out = text(compare([tmp_path]), width)
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    flat = " ".join(out.split())
    for number in ("90.2", "± 0.2", "95.4*", "4,022.5", "42.0", "362.0", "20.0"):
        assert number in flat.replace("95.4 ± 0.3*", "95.4*"), number
    assert ("90.2 ± 0.2" in out) == (width == 140 and name == "hybrid")


def test_thirty_groups_are_enough_for_a_screen(tmp_path: Path) -> None:
    for index in range(40):
        make_run(tmp_path / str(index), "hybrid", 0, 0.5 + index / 100, config={"optimizer.lr": index / 1000})
    comparison = compare([tmp_path], ["optimizer.lr"])
    out = text(comparison)
    assert "(10 more groups; shown are the best by accuracy, --csv writes all)" in out
    assert "89.0" in out
    assert "\n0.009 " not in out
    write_csv(comparison, tmp_path / "all.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 41


def test_csv(tmp_path: Path) -> None:
    three_methods(tmp_path)
    write_csv(compare([tmp_path]), tmp_path / "new" / "all.csv")
    with (tmp_path / "new" / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["activation", "timing", "hybrid"]
    assert [row["seeds"] for row in rows] == ["0 1 2"] * 3
    assert [row["baseline"] for row in rows] == ["", "activation", "activation"]
    assert float(rows[1]["acc_mean"]) == pytest.approx(0.922)
    assert float(rows[1]["acc_sd"]) == pytest.approx(0.002)
    assert float(rows[1]["acc_diff"]) == pytest.approx(0.021)
    assert float(rows[1]["acc_diff_low"]) == pytest.approx(0.02)
    assert float(rows[1]["acc_diff_high"]) == pytest.approx(0.022)
    assert rows[1]["acc_paired"] == "1"
    assert rows[0]["acc_diff"] == ""
    first = (tmp_path / "new" / "all.csv").read_bytes()
    write_csv(compare([tmp_path]), tmp_path / "new" / "again.csv")
    assert first == (tmp_path / "new" / "again.csv").read_bytes()


def test_latex(tmp_path: Path) -> None:
    three_methods(tmp_path, seeds=5)
    for seed in range(5):
        make_run(tmp_path / f"x{seed}", "50%_of_{x}&y\\$", seed, 0.5)
    write_latex(compare([tmp_path]), tmp_path / "table.tex")
    content = (tmp_path / "table.tex").read_text()
    assert r"method & loss & seeds & accuracy (\%) & spikes & to decision" in content
    assert r"50\%\_of\_\{x\}\&y\textbackslash{}\$ & latency & 5 & 50.0 $\pm$ 0.0" in content
    assert r"hybrid & latency & 5 & \textbf{94.6 $\pm$ 0.5}" in content
    body = [line for line in content.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in body} == {8}
    assert content.count(r"\begin{tabular}{llrrrrrrr}") == content.count(r"\end{tabular}") == 1

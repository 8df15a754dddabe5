"""Comparisons: which runs are taken, how they are grouped, what is pointed out, and the command line around it."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli import environment
from made_up_runs import add_overrides, make_run
from rich.console import Console

from snnrun.compare import cli as compare_cli
from snnrun.compare.export import write_csv, write_latex
from snnrun.compare.report import Comparison, compare
from snnrun.compare.runs import find
from snnrun.compare.table import show
from snnrun.errors import UserError
from snnrun.kernels import unit_beta


def three_methods(top: Path, seeds: int = 3, **changes: Any) -> Path:
    for index, method in enumerate(("activation", "timing", "hybrid")):
        for seed in range(seeds):
            acc = 0.9 + 0.02 * index + 0.001 * (seed + seed * index)
            make_run(top / f"{index}_{seed}", method, seed, acc, 50 + 40 * index + seed, **changes)
    return top


def text(comparison: Comparison, width: int = 140) -> str:
    """What a terminal shows."""
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, highlight=False)
    with console.capture() as captured:
        show(comparison, console)
    return captured.get()


def labels(comparison: Comparison) -> list[str]:
    return [row.group.label for table in comparison.tables for row in table.rows]


def run(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snnrun.compare.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=60)


# --- which runs are taken


def test_runs_sweeps_and_trees(tmp_path: Path) -> None:
    make_run(tmp_path / "outputs" / "mine" / "one_run", "hybrid", 0)
    for job in range(12):
        make_run(tmp_path / "outputs" / "mine" / "sweep_x" / str(job), "activation", job)
    (tmp_path / "outputs" / "mine" / "sweep_x" / "comparison").mkdir()
    outputs = tmp_path / "outputs"
    assert len(find([outputs]).runs) == 13
    assert [run.folder.name for run in find([outputs / "mine" / "sweep_x"]).runs] == [str(job) for job in range(12)]
    assert len(find([outputs / "mine" / "one_run"]).runs) == 1
    assert len(find([outputs, outputs / "mine", outputs / "mine" / "one_run"]).runs) == 13
    with pytest.raises(UserError, match="is not a folder"):
        find([tmp_path / "nowhere"])


def test_debug_runs_only_where_named(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    make_run(outputs / "default" / "a", "hybrid")
    make_run(outputs / "debug" / "sweep_1" / "0", "hybrid", config={"experiment_name": "debug"})
    assert [run.folder.name for run in find([outputs]).runs] == ["a"]
    assert "left out: 1 debug runs" in text(compare([outputs]))
    for named in ("debug", "debug/sweep_1", "debug/sweep_1/0"):
        assert [run.folder.name for run in find([outputs / named]).runs] == ["0"]


def test_what_did_not_finish_is_listed_with_its_reason(tmp_path: Path) -> None:
    make_run(tmp_path / "0", "hybrid")
    make_run(tmp_path / "1", "timing", status="failed", error="the loss is not finite in step 7")
    add_overrides(tmp_path / "1", "method=timing", "optimizer.lr=1e6")
    make_run(tmp_path / "2", status="interrupted", error="stopped by signal 15")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = {"status": "running", "host": socket.gethostname(), "started": None}
    make_run(tmp_path / "3", pid=gone.pid, **here)
    make_run(tmp_path / "4", pid=os.getpid(), **here)
    make_run(tmp_path / "5", status="running", host="elsewhere", pid=5)
    make_run(tmp_path / "6", mode="test")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "summary.json").write_text("{")
    states = {aside.folder.name: (aside.state, aside.why) for aside in find([tmp_path]).aside}
    assert states["1"] == ("failed", "the loss is not finite in step 7")
    assert states["2"] == ("interrupted", "stopped by signal 15")
    assert states["3"] == ("interrupted", f"its process {gone.pid} is gone")
    assert states["4"] == ("running", f"in process {os.getpid()}")
    assert states["5"][0] == "running"
    assert "elsewhere" in states["5"][1]
    out = text(compare([tmp_path]))
    assert "(method=timing optimizer.lr=1e6): the loss is not finite in step 7" in " ".join(out.split())
    assert "left out: 1 evaluations (mode=test)" in out
    assert "damaged: " in out


def test_a_process_number_given_out_again(tmp_path: Path) -> None:
    """The run's process began as the machine did; whoever has its number today is somebody else."""
    here = {"status": "running", "host": socket.gethostname(), "pid": os.getpid()}
    make_run(tmp_path / "0", pid_started=0, **here)
    (aside,) = find([tmp_path]).aside
    assert aside.state == "interrupted"


# --- groups


def test_a_run_made_twice_counts_once(tmp_path: Path) -> None:
    make_run(tmp_path / "new", "hybrid", 0, 0.9, started="2026-11-24T12:00:00+00:00")
    make_run(tmp_path / "old", "hybrid", 0, 0.1, started="2026-11-24T11:00:00+00:00", threads=16)
    other = {"trainer.threads": 16, "logger.name": "wandb", "dataset.root": "/elsewhere", "experiment_name": "again"}
    make_run(tmp_path / "older", "hybrid", 0, 0.2, started="2026-11-23T11:00:00+00:00", config=other)
    comparison = compare([tmp_path])
    (row,) = comparison.tables[0].rows
    assert row.n == 1
    assert row.estimates["acc"] is not None
    assert row.estimates["acc"].mean == 0.9
    (note,) = comparison.notes
    assert note.startswith("2 runs made again later with the same options and seed")


def test_method_and_data_set_by_default(tmp_path: Path) -> None:
    three_methods(tmp_path / "digits")
    three_methods(tmp_path / "yinyang", dataset="yinyang")
    comparison = compare([tmp_path])
    assert [table.block.dataset for table in comparison.tables] == ["digits", "yinyang"]
    assert labels(comparison) == 2 * ["activation", "timing", "hybrid"]
    for table in comparison.tables:  # each is compared with the one of its own data set
        assert {row.baseline for row in table.rows} == {table.rows[0].group}
        assert table.rows[0].differences == {}


def test_the_loss_where_it_differs(tmp_path: Path) -> None:
    for seed in range(2):
        for loss in ("count", "spike_train"):
            make_run(tmp_path / f"a{loss}{seed}", "activation", seed, loss=loss)
            make_run(tmp_path / f"h{loss}{seed}", "hybrid", seed, loss=loss)
    comparison = compare([tmp_path])
    assert labels(comparison) == ["activation count", "activation spike_train", "hybrid count", "hybrid spike_train"]
    # the baseline of hybrid with a loss is activation with that loss
    baselines = {row.group.label: row.baseline.label for row in comparison.tables[0].rows if row.baseline}
    assert baselines["hybrid spike_train"] == "activation spike_train"
    assert baselines["hybrid count"] == "activation count"


def test_a_sweep_is_grouped_by_what_it_varied(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep_2026"
    for job, (lr, seed) in enumerate((lr, seed) for lr in (0.001, 0.01) for seed in range(3)):
        folder = make_run(sweep / str(job), "hybrid", seed, 0.9 + lr + seed / 1000, config={"optimizer.lr": lr})
        add_overrides(folder, "method=hybrid", f"optimizer.lr={lr}", f"seed={seed}", "trainer.epochs=5")
    comparison = compare([sweep])
    assert labels(comparison) == ["lr=0.001", "lr=0.01"]
    assert comparison.tables[0].rows[1].baseline is comparison.tables[0].rows[0].group
    assert comparison.tables[0].block.unit == "seed"
    assert "hybrid, digits: test" in text(comparison)


def test_folds_are_averaged_over_and_paired_without_a_warning(tmp_path: Path) -> None:
    for method, gain in (("activation", 0.0), ("hybrid", 0.02)):
        for fold, acc in enumerate((0.90, 0.95, 0.92, 0.93, 0.94)):
            data = {"n_train": 100, "n_val": 10, "n_test": 50, "split_seed": 0, "hash": f"fold{fold}"}
            config = {"dataset.fold": fold}
            folder = make_run(
                tmp_path / "sweep_1" / f"{method}{fold}", method, acc=acc + gain, config=config, data=data
            )
            add_overrides(folder, f"method={method}", f"dataset.fold={fold}")
    (table,) = compare([tmp_path]).tables
    assert [row.group.label for row in table.rows] == ["activation", "hybrid"]
    assert table.block.unit == "fold"
    gap = table.rows[1].differences["acc"]
    assert gap is not None
    assert gap.paired
    assert gap.mean == pytest.approx(0.02)
    assert not [text for text in table.warnings if "fold" in text or "data" in text]


def test_a_sweep_over_splits_is_one_group_of_runs(tmp_path: Path) -> None:
    for split in range(3):
        for method in ("activation", "hybrid"):
            folder = make_run(tmp_path / "sweep_1" / f"{method}{split}", method, config={"dataset.split_seed": split})
            add_overrides(folder, f"method={method}", f"dataset.split_seed={split}")
    (table,) = compare([tmp_path]).tables
    assert [row.n for row in table.rows] == [3, 3]
    assert table.block.unit == "run"
    assert all(row.differences["acc"].paired for row in table.rows if row.differences)  # type: ignore[union-attr]
    assert any("all groups: runs of different data splits (dataset.split_seed 0, 1, 2)" in w for w in table.warnings)


def test_any_option_to_group_by(tmp_path: Path) -> None:
    three_methods(tmp_path)
    assert labels(compare([tmp_path], ["loss"])) == ["count", "latency"]
    assert labels(compare([tmp_path], ["method", "T"])) == ["activation", "timing", "hybrid"]
    assert len(labels(compare([tmp_path], ["optimizer.lr"]))) == 1
    assert len(labels(compare([tmp_path], ["method", "seed"]))) == 9
    with pytest.raises(UserError, match=r"no run has the option optimizer\.lrr\. Did you mean optimizer\.lr\?"):
        compare([tmp_path], ["optimizer.lrr"])


def test_baselines(tmp_path: Path) -> None:
    three_methods(tmp_path)
    for asked in ("timing", "method=timing"):
        (table,) = compare([tmp_path], baseline=asked).tables
        assert [row.baseline.label for row in table.rows if row.baseline] == ["timing"] * 3
    with pytest.raises(UserError, match=r"no group is the baseline 'tming'\. Groups: activation, timing, hybrid"):
        compare([tmp_path], baseline="tming")


def test_without_labels_the_loss_counts(tmp_path: Path) -> None:
    for seed in range(3):
        for method in ("activation", "hybrid"):
            make_run(tmp_path / f"{method}{seed}", method, seed, acc=None, loss="spike_train")
    (table,) = compare([tmp_path]).tables
    assert table.metrics[0].key == "loss"
    assert "hybrid test loss 0.4000 ± 0.0000, +0.0000 [0.0000, 0.0000] against activation" in text(compare([tmp_path]))


def test_values_of_different_losses_have_no_common_scale(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / f"a{seed}", "activation", seed, acc=None)
        make_run(tmp_path / f"h{seed}", "hybrid", seed, acc=None)
    (table,) = compare([tmp_path]).tables
    assert [row.differences.get("loss") for row in table.rows] == [None, None]
    assert not any("loss" in row.best for row in table.rows)


# --- what is pointed out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"trainer.epochs": 50}}, "hybrid: runs of different trainer.epochs (5, 50); --by trainer.epochs"),
        ({"T": 100}, "hybrid: runs of different T (60, 100)"),
        ({"config": {"dataset.split_seed": 1}}, "hybrid: runs of different data splits (dataset.split_seed 0, 1)"),
        ({"data": {"hash": "fedcba"}}, "hybrid: runs of different data (hash) (abcdef, fedcba)"),
        ({"versions": {"snnrun": "0.2.0", "commit": "ba9876"}}, "hybrid: runs of different code versions"),
    ],
)
def test_a_group_that_mixes(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    three_methods(tmp_path)
    assert compare([tmp_path]).tables[0].warnings == []
    make_run(tmp_path / "2_2", "hybrid", 2, **change)
    assert any(said in line for line in compare([tmp_path]).tables[0].warnings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"config": {"optimizer.lr": 0.1}},
            "groups differ in optimizer.lr as well (0.002: activation, timing; 0.1: hybrid)",
        ),
        (
            {"data": {"hash": "fedcba"}},
            "groups come from different data (hash) (abcdef: activation, timing; fedcba: hybrid)",
        ),
        ({"versions": {"snnrun": "0.2.0", "commit": "x"}}, "groups come from different code versions"),
    ],
)
def test_groups_that_differ_in_more(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    three_methods(tmp_path)
    for seed in range(3):
        make_run(tmp_path / f"2_{seed}", "hybrid", seed, **change)
    assert any(said in line for line in compare([tmp_path]).tables[0].warnings)


def test_options_of_the_method_itself_are_no_surprise(tmp_path: Path) -> None:
    three_methods(tmp_path)
    for seed in range(3):
        make_run(tmp_path / f"1_{seed}", "timing", seed, config={"method.penalty": 100, "loss.beta": 0.1})
    assert compare([tmp_path]).tables[0].warnings == []


@pytest.mark.parametrize(("T", "differ"), [(20, True), (100, False)])
def test_automatic_betas_that_depend_on_the_window(tmp_path: Path, T: int, differ: bool) -> None:
    for seed in range(2):
        make_run(tmp_path / f"a{seed}", "hybrid", seed, T=60)
        make_run(tmp_path / f"b{seed}", "hybrid", seed, T=T)
    assert (unit_beta(0.97, 0.97, 60) != unit_beta(0.97, 0.97, T)) == differ
    warnings = compare([tmp_path], ["method", "dataset.T"]).tables[0].warnings
    assert any("automatic betas differ" in line for line in warnings) == differ
    fixed = {"model.beta_v": 0.05, "model.beta_bias": 0.05}
    for seed in range(2):
        make_run(tmp_path / f"b{seed}", "hybrid", seed, T=T, config=fixed)
        make_run(tmp_path / f"a{seed}", "hybrid", seed, T=60, config=fixed)
    warnings = compare([tmp_path], ["method", "dataset.T"]).tables[0].warnings
    assert not any("automatic betas differ" in line for line in warnings)


# --- what is shown


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


# --- the command


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

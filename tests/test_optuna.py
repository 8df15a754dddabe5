"""Searches by Optuna: spaces that fit the method, failures that score worst, studies that go on, the Pareto front."""

import csv
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from cli import snnrun, summary
from rich.console import Console

from snnrun import cli
from snnrun.composition import compose_node, to_plain
from snnrun.config import check
from snnrun.experiment import score
from snnrun.search import WORST, objectives, searchable, study_name
from snnrun.search_report import command, report_search
from snnrun.sweep import check_sweep

SEARCH = ("-m", "debug=fast", "logger=none")


def options_of(job: Path) -> dict[str, str]:
    overrides = yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text())
    return dict(override.split("=", 1) for override in overrides)


def test_a_stored_search_over_methods_and_losses_goes_on_and_survives_failures(tmp_path: Path) -> None:
    space = ("method=choice(timing,hybrid)", "loss=choice(latency,count)")  # timing cannot learn from count
    sweeper = ("hydra.sweeper.n_trials=4", "hydra.sweeper.storage=sqlite:///study.db", "hydra.sweep.dir=mine")
    arguments = (*SEARCH, "hparams_search=optuna", *space, *sweeper)
    first = snnrun(*arguments, cwd=tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("mine/*/summary.json")}
    second = snnrun(*arguments, cwd=tmp_path)
    jobs = [tmp_path / "mine" / str(number) for number in range(8)]
    assert sorted(path.parent for path in tmp_path.glob("mine/*/summary.json")) == jobs
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items()), "finished jobs are not touched"
    contents = [summary(job) for job in jobs]
    # a failed trial scores 0 and the search goes on; the exit code tells
    (study,) = [
        optuna.load_study(study_name=known.study_name, storage=f"sqlite:///{tmp_path}/study.db")
        for known in optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/study.db")
    ]
    assert [trial.value for trial in study.trials] == [score(content, "val/acc") for content in contents]
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert {content["status"] for content in contents} == {"failed", "finished"}
    assert (first.returncode, second.returncode) == (2, 2)
    assert "Traceback" not in first.stderr + second.stderr
    # each trial has the options of its own method and loss, and no two are alike
    for job, trial in zip(jobs, study.trials, strict=True):
        options = options_of(job)
        assert trial.params.items() <= {key: yaml.safe_load(value) for key, value in options.items()}.items()
        works = (options["method"], options["loss"]) != ("timing", "count")
        assert ("method.penalty" in options) == (options["method"] == "timing" and works)
        assert ("method.lambda_act" in options) == (options["method"] == "hybrid")
        assert ("loss.beta" in options) == (options["loss"] == "latency")
    assert len({options_of(job)["optimizer.lr"] for job in jobs}) == 8
    # the record has them all, best first, with what was searched and nothing else
    with (tmp_path / "mine" / "trials.csv").open(newline="") as file:
        record = {row["job"]: row for row in csv.DictReader(file)}
    assert next(iter(record)) == str(study.best_trial.number)
    for number, (content, trial) in enumerate(zip(contents, study.trials, strict=True)):
        row = record[str(number)]
        assert row["status"] == content["status"]
        assert row["val/acc"] == ("" if content["status"] == "failed" else str(trial.value))
        own = {
            key: yaml.safe_load(value)
            for key, value in row.items()
            if value and ("." in key or key in ("method", "loss"))
        }
        assert own == trial.params
    # trials are chosen by validation, and no table sets their test results side by side
    assert not (tmp_path / "mine" / "comparison.csv").exists()
    assert "comparison" not in second.stdout
    # the best is a command to paste
    line = second.stdout.strip().splitlines()[-1]
    assert line.startswith("snnrun debug=fast logger=none ")
    config = check(to_plain(compose_node(line.split()[1:])))
    assert config.optimizer.lr == study.best_params["optimizer.lr"]
    assert config.method.name == study.best_params["method"]


@pytest.mark.slow
def test_two_objectives_in_parallel_end_with_their_front(tmp_path: Path) -> None:
    search = ("hparams_search=optuna_pareto", "method=hybrid", "hydra.sweeper.n_trials=6", "hydra.sweep.dir=mine")
    arguments = (*SEARCH, "trainer.epochs=3", *search, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    result = snnrun(*arguments, cwd=tmp_path, check=True)
    points = {
        path.parent.name: (summary(path.parent)["val"]["acc"], summary(path.parent)["val"]["spikes"])
        for path in tmp_path.glob("mine/*/summary.json")
    }
    assert len(points) == 6
    front = {
        job
        for job, (acc, spikes) in points.items()
        if not any(a >= acc and s <= spikes and (a, s) != (acc, spikes) for a, s in points.values())
    }
    table = result.stdout.split("Pareto front")[1].splitlines()[2:]
    shown = {line.split()[0] for line in table[: len(front)]}
    assert shown == front
    assert (tmp_path / "mine" / "pareto.png").stat().st_size > 10_000
    # in memory, with the run's seed: the same command finds every trial finished
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("mine/*/summary.json")}
    again = snnrun(*arguments, cwd=tmp_path, check=True)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.glob("mine/*/summary.json")}
    assert again.stdout.split("Pareto front")[1] == result.stdout.split("Pareto front")[1]


def test_the_space_fits_the_method_and_the_loss() -> None:
    def names(*overrides: str) -> set[str]:
        return {name for name, _ in searchable(check(to_plain(compose_node(overrides))))}

    latency = {"loss.beta", "loss.lambda_nospike"}
    assert names("method=timing") == {"method.penalty"} | latency
    assert names("method=hybrid") == {"method.lambda_act", "method.surrogate_sharpness"} | latency
    assert names("method=activation") == {"method.surrogate_sharpness", "loss.true_count"}
    assert names("method=hybrid", "loss=spike_train") >= {"loss.alpha", "loss.period"}
    assert names("method=timing", "trainer.monitor=val/loss") == {"method.penalty"}  # a loss is not its own judge
    assert names("dataset=spike_trains", "loss=spike_train") == {"method.lambda_act", "method.surrogate_sharpness"}


def test_every_range_that_is_searched_lies_within_what_is_allowed() -> None:
    for method in ("activation", "timing", "hybrid"):
        for loss in ("count", "latency", "spike_train"):
            overrides = [f"method={method}", f"loss={loss}"]
            try:
                config = check(to_plain(compose_node(overrides)))
            except cli.UserError:
                continue  # a pair that cannot work
            for end in ("low", "high"):
                values = [f"{name}={getattr(search, end)}" for name, search in searchable(config)]
                check(to_plain(compose_node([*overrides, *values])))


@pytest.mark.parametrize(
    ("arguments", "names", "helps"),
    [
        ("hparams_search=optuna +hydra.sweeper.params.method.lamda_act=interval(0,1)", "hydra.sweeper.params", ""),
        ("hparams_search=optuna +hydra.sweeper.params.sead=range(0,3)", "sead", "Did you mean seed?"),
        ("hparams_search=optuna method.lamda_act=interval(0,1)", "method.lamda_act is not an option", "lambda_act"),
        ("hparams_search=optuna optimizer.lr=interval(-1,1)", "optimizer.lr is -1", "above 0"),
        ("hparams_search=optuna optimizer.lr=tag(log,interval(1e-4,inf))", "optimizer.lr is inf", "finite"),
        ("optimizer.lr=interval(1e-4,1e-2)", "optimizer.lr=interval(1e-4,1e-2)", "hparams_search=optuna"),
        ("hparams_search=optuna hydra.sweeper.storage=sqlite:////nowhere/at/all.db", "hydra.sweeper.storage", "sqlite"),
        ("hparams_search=optunna", "hparams_search=optunna does not exist", "optuna_pareto"),
        ("hydra/launcher=jobli seed=0,1", "hydra/launcher=jobli does not exist", "joblib"),
    ],
)
def test_what_cannot_be_searched_ends_with_one_line(
    arguments: str,
    names: str,
    helps: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["-m", *arguments.split()]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("snnrun: error: ")
    assert names in line
    assert helps in line
    assert not (tmp_path / "outputs").exists()


def test_a_search_without_m_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["hparams_search=optuna"]) == 2
    assert "Add -m" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "direction"),
    [
        (["hparams_search=optuna"], "maximize"),
        (["hparams_search=optuna", "trainer.monitor=val/spikes"], "minimize"),
        (["hparams_search=optuna_pareto"], "[maximize,minimize]"),
        (["hparams_search=optuna_pareto", "trainer.monitor=val/loss"], "[minimize,minimize]"),
    ],
)
def test_the_monitor_decides_the_direction(overrides: list[str], direction: str) -> None:
    from snnrun.multirun import sweep_overrides

    added = sweep_overrides(check_sweep(overrides, None), overrides)
    assert f"hydra.sweeper.direction={direction}" in added


def test_a_failed_trial_has_the_worst_finite_values() -> None:
    pareto = compose_node(["hparams_search=optuna_pareto"]).hydra
    failed: dict[str, Any] = {"status": "failed", "val": {}}
    assert objectives(pareto, failed, score(failed, "val/acc")) == [0.0, WORST]
    assert objectives(pareto, failed, sys.float_info.max) == [WORST, WORST]
    finished = {"status": "finished", "val": {"acc": 0.9, "spikes": 80.0}}
    assert objectives(pareto, finished, 0.9) == [0.9, 80.0]
    assert objectives(compose_node(["hparams_search=optuna"]).hydra, finished, 0.9) == 0.9


def test_other_options_are_another_study() -> None:
    sweeper = compose_node(["hparams_search=optuna"]).hydra.sweeper
    name = study_name(["method=hybrid", "hydra.sweeper.n_trials=3"], sweeper, False)
    assert name == study_name(["hydra.sweeper.n_trials=9", "method=hybrid", "logger=none"], sweeper, False)
    assert name != study_name(["method=timing"], sweeper, False)
    assert name != study_name(["method=hybrid"], sweeper, True)


def test_the_command_drops_what_belongs_to_the_search() -> None:
    overrides = ["hparams_search=optuna", "method=hybrid", "hydra.sweeper.n_trials=3", "loss=choice(latency,count)"]
    text = command(overrides, {"loss": "latency", "optimizer.lr": 0.002})
    assert text == "snnrun method=hybrid loss=latency optimizer.lr=0.002"


def test_a_front_of_failed_trials_only_is_no_front(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    content = {"name": "optuna", "solutions": [{"params": {"optimizer.lr": 1.0}, "values": [0.0, WORST]}]}
    (tmp_path / "optimization_results.yaml").write_text(yaml.safe_dump(content))
    report_search(tmp_path, [], "val/acc", Console())
    assert capsys.readouterr().out == "search: no trial has finished\n"

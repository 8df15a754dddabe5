"""The W&B workspace: every name in it is one that real runs log, and it is saved only where that is possible."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli import environment
from conftest import WANDB_KEY, Sweep
from wandb_files import Logged
from wandb_server import serving

DASHBOARD = Path(__file__).resolve().parent.parent / "scripts" / "dashboard.py"
METHODS = ("activation", "timing", "hybrid")


def dashboard(*arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    outside = environment(HOME=str(cwd), **env)
    del outside["WANDB_MODE"]
    command = [sys.executable, str(DASHBOARD), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=outside, cwd=cwd, timeout=120, stdin=subprocess.DEVNULL
    )


def panels(view: dict[str, Any]) -> list[dict[str, Any]]:
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


def configs_of(panel: dict[str, Any], *keys: str) -> list[str]:
    return [panel["config"][key] for key in keys if panel["config"].get(key)]


def names(view: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every name of something logged in a workspace, as (kind, name)."""
    for panel in panels(view):
        config = panel["config"]
        by_prefix = [*configs_of(panel, "yAxis"), *(column["accessor"] for column in config.get("columns", []))]
        if panel["viewType"] == "Run History Line Plot":
            yield "row", config["xAxis"]
        elif "xAxis" in config:
            by_prefix.append(config["xAxis"])
        for name in by_prefix:
            kind, _, rest = name.partition(":")
            yield kind, rest
        for name in config.get("metrics", []):
            yield ("summary" if panel["viewType"] == "Bar Chart" else "row"), name
        for name in configs_of(panel, "groupBy"):
            yield "config", name
        for name in configs_of(panel, "metricRegex"):
            yield "pattern", name
        for name in config.get("mediaKeys", []):
            yield "image", name
    (runs,) = view["spec"]["section"]["runSets"]
    for name in runs["runFeed"]["columnOrder"]:
        kind, _, rest = name.partition(":")
        yield kind, rest
    for condition in runs["filters"]["filters"]:
        yield condition["key"]["section"], condition["key"]["name"]
    yield "row", view["spec"]["section"]["settings"]["xAxis"]


def unknown(view: dict[str, Any], runs: list[Logged], of_all: bool = True) -> set[tuple[str, str]]:
    """Names that not every run (or, of_all=False, no run) has."""
    quantifier = all if of_all else any
    return {(kind, name) for kind, name in names(view) if not quantifier(_logs(run, kind, name) for run in runs)}


def _logs(run: Logged, kind: str, name: str) -> bool:
    if kind == "config":
        first, value, *rest = name.split(".")  # W&B wraps each top-level option: method.value.name
        node: Any = {"value": run.config.get(first)}
        for part in (value, *rest):
            node = node.get(part) if isinstance(node, dict) else None
        return node is not None and not isinstance(node, dict)
    if kind == "row":
        return any(name in row for row in run.rows)
    if kind == "pattern":
        return any(re.search(name, key) for key in run.rows[0])
    if kind == "image":
        return run.summary.get(f"{name}._type") == "image-file"
    if kind == "run":  # attributes that W&B itself knows
        return name in ("displayName", "jobType", "state", "group")
    return isinstance(run.summary.get(name), int | float)


@pytest.fixture(scope="module")
def runs(wandb_sweep: Sweep) -> list[Logged]:
    return [Logged.read(wandb_sweep.folder / str(job)) for job in (0, 2, 4)]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory, wandb_sweep: Sweep) -> dict[str, Any]:
    cwd = tmp_path_factory.mktemp("dashboard")
    result = dashboard("me/spikes", "--group", wandb_sweep.folder.name, "--dry-run", "view.json", cwd=cwd)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    content: dict[str, Any] = json.loads((cwd / "view.json").read_text())
    return content


def test_every_name_is_logged(view: dict[str, Any], runs: list[Logged]) -> None:
    assert [run.config["method"]["name"] for run in runs] == list(METHODS)
    assert len(set(names(view))) > 25
    assert unknown(view, runs, of_all=False) == set()
    # what only hybrid runs have
    weights = {("config", "method.value.lambda_act"), ("config", "method.value.lambda_tim")}
    assert unknown(view, runs) == weights
    assert unknown(view, runs[-1:]) == set()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("summary:test/spikes_to_decision", "summary:test/spikes_until_decision"),
        ('"val/acc"', '"val/accuracy"'),
        ("config:optimizer.value.lr", "config:optimizer.value.rate"),
        ("method.value.name", "method.name"),
        ("^grad_norm/", "^gradient_norm/"),
        ("plots/raster", "plots/spikes"),
        ('"epoch"', '"epochs"'),
        ('"jobType"', '"job_type"'),
    ],
)
def test_a_name_that_no_run_logs_is_noticed(view: dict[str, Any], runs: list[Logged], right: str, wrong: str) -> None:
    text = json.dumps(view)
    assert right in text
    assert unknown(json.loads(text.replace(right, wrong)), runs, of_all=False)


def test_the_filter_keeps_the_sweep(view: dict[str, Any], runs: list[Logged]) -> None:
    (run_set,) = view["spec"]["section"]["runSets"]
    filters = {condition["key"]["name"]: condition["value"] for condition in run_set["filters"]["filters"]}
    for run in runs:
        assert (run.run["job_type"], run.run["run_group"]) == (filters["jobType"], filters["group"])
    assert filters["state"] == ["finished", "running"]


def test_the_panels_answer_the_questions(view: dict[str, Any]) -> None:
    lines = [panel for panel in panels(view) if panel["viewType"] == "Run History Line Plot"]
    over_epochs = {name: panel["config"] for panel in lines for name in panel["config"]["metrics"]}
    assert {"val/acc", "val/spikes", "val/spikes_to_decision"} <= set(over_epochs)
    for config in (panel["config"] for panel in lines):
        assert (config["xAxis"], config["groupBy"]) == ("epoch", "method.value.name")
        assert (config["groupAgg"], config["groupArea"]) == ("mean", "stddev")
        assert config["yAxisTitle"]
    scatters = [panel["config"] for panel in panels(view) if panel["viewType"] == "Scatter Plot"]
    axes = [(config["xAxis"], config["yAxis"]) for config in scatters]
    assert ("summary:test/spikes", "summary:test/acc") in axes
    assert ("summary:test/spikes_to_decision", "summary:test/acc") in axes
    every, hybrid = (panel["config"] for panel in panels(view) if panel["viewType"] == "Parallel Coordinates Plot")
    options = ["method.value.name", "loss.value.name", "optimizer.value.lr", "seed.value"]
    weights = ["method.value.lambda_act", "method.value.lambda_tim"]
    for panel, configs in ((every, options), (hybrid, [*options[:-1], *weights, options[-1]])):
        accessors = [column["accessor"] for column in panel["columns"]]
        assert [name for name in accessors if name.startswith("config:")] == [f"config:{name}" for name in configs]
        assert {"summary:test/acc", "summary:test/spikes"} <= set(accessors)
    assert panels(view)[-1]["viewType"] == "Run Comparer"
    titles = [panel["config"]["chartTitle"] for panel in panels(view)[:-1]]
    assert len(set(titles)) == len(titles)


def test_means_are_over_all_runs_of_a_sweep(view: dict[str, Any]) -> None:
    assert view["spec"]["section"]["settings"]["maxRuns"] == 100
    limits = [panel["config"]["limit"] for panel in panels(view) if "groupBy" in panel["config"]]
    assert len(limits) > 10
    assert set(limits) == {100}


def test_it_is_saved_where_a_key_is_configured(tmp_path: Path, view: dict[str, Any], wandb_sweep: Sweep) -> None:
    with serving() as server:
        arguments = ("me/spikes", "--group", wandb_sweep.folder.name)
        result = dashboard(*arguments, cwd=tmp_path, WANDB_API_KEY=WANDB_KEY, WANDB_BASE_URL=server.url)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == f"saved: {server.url}/me/spikes?nw=view\n"
        (saved,) = server.named("UpsertView2")
    assert (saved["entityName"], saved["projectName"], saved["type"]) == ("me", "spikes", "project-view")
    sent = {"spec": json.loads(saved["spec"])}
    assert [panel["config"] for panel in panels(sent)] == [panel["config"] for panel in panels(view)]


def test_without_a_key_it_says_what_to_do(tmp_path: Path) -> None:
    error = one_line(dashboard("me/spikes", cwd=tmp_path))
    assert "wandb login" in error
    assert "--dry-run" in error


def test_a_key_that_is_refused_is_one_line(tmp_path: Path) -> None:
    with serving(refuses=True) as server:
        result = dashboard("me/spikes", cwd=tmp_path, WANDB_API_KEY=WANDB_KEY, WANDB_BASE_URL=server.url)
    assert "not logged in" in one_line(result)
    assert WANDB_KEY not in result.stderr


def test_without_the_extra_it_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "wandb_workspaces.py").write_text("raise ModuleNotFoundError('gone', name='wandb_workspaces')\n")
    result = dashboard("me/spikes", "--dry-run", "view.json", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert "pip install snnrun[dashboard]" in one_line(result)
    assert not (tmp_path / "view.json").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("spikes", "--dry-run", "view.json"), "ENTITY/PROJECT"),
        (("me/spikes/more", "--dry-run", "view.json"), "ENTITY/PROJECT"),
        (("me/spikes", "--dry-run", "nowhere/view.json"), "cannot be written"),
        (("me/spikes", "--dry-run", "view.json", "--group", "it's"), "--group"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path: Path, arguments: tuple[str, ...], problem: str) -> None:
    assert problem in one_line(dashboard(*arguments, cwd=tmp_path))


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("snnrun: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr

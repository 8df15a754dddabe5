"""scripts/sweep.yaml: what W&B's agent would run is a command line of ours."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from cli import environment
from wandb.sdk.launch.sweeps import utils as macros

from snnrun.composition import compose_node, to_plain
from snnrun.config import check

SWEEP = yaml.safe_load((Path(__file__).resolve().parent.parent / "scripts" / "sweep.yaml").read_text())


def draws() -> dict[str, list[Any]]:
    """Values that W&B's server may draw for each parameter: all of a list, both ends of a range."""
    drawn = {}
    for key, spec in SWEEP["parameters"].items():
        drawn[key] = [spec["value"]] if "value" in spec else spec.get("values") or [spec["min"], spec["max"]]
    return drawn


def expanded(values: dict[str, Any]) -> list[str]:
    """The command as wandb.wandb_agent.Agent builds it, with W&B's own expansion of the arguments."""
    arguments = macros.create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    known = {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [SWEEP["program"]], **arguments}
    command = []
    for part in macros.create_sweep_command(SWEEP["command"]):
        command += known[part[2:-1]] if part.startswith("${") else [part]
    return command


def test_the_command_is_ours_and_prints_the_configuration(tmp_path: Path) -> None:
    values = {key: random.Random(0).choice(options) for key, options in draws().items()}
    command = expanded(values)
    assert command[:4] == ["/usr/bin/env", "python", "-m", "snnrun"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where the agent itself would run
    result = subprocess.run(
        [*command, "--cfg", "job"],
        cwd=tmp_path,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    config = yaml.safe_load(result.stdout)
    assert config["method"]["name"] == values.pop("method")
    assert config["dataset"]["name"] == values.pop("dataset")
    for key, value in values.items():
        group, _, option = key.rpartition(".")
        assert (config[group][option] if group else config[key]) == value, key


def test_every_value_that_can_be_drawn_is_accepted() -> None:
    first = {key: values[0] for key, values in draws().items()}
    for key, values in draws().items():
        for value in values:
            overrides = expanded({**first, key: value})[4:]
            assert check(to_plain(compose_node(overrides))).options.experiment_name == "wandb_sweep"


def test_the_metric_is_one_that_runs_log() -> None:
    from snnrun.metrics import higher_is_better, metric_keys

    prefix, _, key = SWEEP["metric"]["name"].partition("/")
    assert prefix == "best"  # written into W&B's summary, from the validation of best.pt
    assert key in metric_keys(2)
    assert SWEEP["metric"]["goal"] == ("maximize" if higher_is_better(key) else "minimize")

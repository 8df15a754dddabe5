"""Secrets of the environment cannot get into a config: refused by name, before anything is written."""

import os
from pathlib import Path

import pytest

from snnrun import cli
from snnrun.credentials import refuse_secrets
from snnrun.errors import UserError

KEY = "key" + "5ec2e7" + "f" * 31
ATTEMPTS = [
    "experiment_name=${oc.env:WANDB_API_KEY}",
    "experiment_name=run_${oc.env:WANDB_API_KEY}",
    "logger.project=${oc.env:WANDB_API_KEY,none}",
    'logger.entity=${oc.env:"WANDB_API_KEY"}',
    "logger.entity=${oc.decode:${oc.env:WANDB_API_KEY}}",
    "dataset.root=/data/${oc.env:WANDB_API_KEY}",
    "plugins=[${oc.env:WANDB_API_KEY}]",
    f"experiment_name={KEY}",
    f"+{KEY}=1",
    "+wandb_key=${oc.env:WANDB_API_KEY}",
    "hydra.run.dir=outputs/${oc.env:WANDB_API_KEY}",
    "-m seed=0,1 hydra.sweep.dir=outputs/${oc.env:WANDB_API_KEY}",
    "-m seed=0,1 experiment_name=a,${oc.env:WANDB_API_KEY}",
    "mode=test checkpoint=${oc.env:WANDB_API_KEY}",
    "--cfg job logger.project=${oc.env:WANDB_API_KEY}",
    "--config-dir mine experiment=leaky",
    "--config-dir mine experiment=leaky_folder",
]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_config_with_the_key_is_refused(
    attempt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    leaky = "# @package _global_\nexperiment_name: ${oc.env:WANDB_API_KEY}\n"
    (tmp_path / "mine" / "experiment" / "leaky.yaml").write_text(leaky)
    folder = "# @package _global_\nhydra:\n  run:\n    dir: outputs/${oc.env:WANDB_API_KEY}\n"
    (tmp_path / "mine" / "experiment" / "leaky_folder.yaml").write_text(folder)
    assert cli.main(attempt.split(" ")) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("snnrun: error: ")
    assert told.err.count("\n") == 1
    assert "WANDB_API_KEY" in told.err
    assert KEY not in told.err
    assert os.listdir(tmp_path) == ["mine"]  # noqa: PTH208


def test_other_secrets_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET", "db_password"):
        monkeypatch.setenv(name, "correct-horse")
        with pytest.raises(UserError, match=rf"a\.b holds the secret .*{name}"):
            refuse_secrets({"a": {"b": [1, "x correct-horse"]}})
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value"), [("SNNRUN_DATA", "/data/snn"), ("SOME_TOKEN", "/data"), ("TOKENIZERS", "/data/snn")]
)
def test_what_is_no_secret_passes(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    refuse_secrets({"dataset": {"root": "/data/snn", "T": 60}})

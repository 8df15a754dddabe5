"""What a user can do wrong: one line, exit code 2, the option named, no folder left behind."""

from pathlib import Path

import pytest
from cli import run_dirs, snnrun

from snnrun import cli

WRONG = [
    ("method=hibrid", "method=hibrid does not exist", "hybrid"),
    ("dataset=imagenet", "dataset=imagenet does not exist", "nmnist"),
    ("optimizer.lrr=1", "optimizer.lrr is not an option", "Did you mean optimizer.lr?"),
    ("sead=1", "sead", "Did you mean seed?"),
    ("+sead=1", "sead is not an option", "seed"),
    ("+method.lambda=1", "method.lambda is not an option", "lambda_act"),
    ("++trainer.epoch=1", "trainer.epoch is not an option", "epochs"),
    ("method.lambda_act=high", "method.lambda_act", "Float"),
    ("trainer.epochs=1.5", "trainer.epochs", "Integer"),
    ("seed=abc", "seed", "Integer"),
    ("dataset.T=0", "dataset.T is 0", "at least 1"),
    ("model.alpha_v=1.2", "model.alpha_v is 1.2", "at most 1"),
    ("model.alpha_i=nan", "model.alpha_i is nan", "a number"),
    ("trainer.batch_size=0", "trainer.batch_size is 0", "at least 1"),
    ("optimizer.lr=-1", "optimizer.lr is -1", "above 0"),
    ("optimizer.lr=inf", "optimizer.lr is inf", "finite"),
    ("dataset.val_share=1", "dataset.val_share is 1", "below 1"),
    ("dataset=mnist dataset.max_rate=-0.1 dataset.coding=rate", "dataset.max_rate is -0.1", "at least 0"),
    ("method=timing loss=count", "method=timing cannot learn from loss=count", "latency, spike_train"),
    ("method=activation loss=latency", "method=activation cannot learn from loss=latency", "count, spike_train"),
    ("method.lambda_tim=0 loss=latency", "with lambda_tim=0 cannot learn from loss=latency", "count, spike_train"),
    ("method.lambda_tim=0 method.lambda_act=0", "no loss fits", "lambda_act=0 and lambda_tim=0"),
    ("method=timing model=conv loss.rate_weight=1", "loss.rate_weight=1", "dense layers only"),
    ("loss=spike_train loss.period=100", "loss.period=100", "dataset.T=60"),
    ("dataset=mnist dataset.root=/nowhere/at/all", "dataset.root", "/nowhere/at/all"),
    ("model.layers=flatten-conv4c3-out", "model.layers", "conv4c3"),
    ("model.layers=apool9-out", "model.layers", "larger than the map"),
    ("model.layers=[fc10,fc9]", "model.layers", "fc10 or out"),
    ("model.beta_v=none", "model.beta_v", "auto"),
    ("model.init=xavier", "model.init", "calibrate"),
    ("dataset.T=10", "dataset.T", "t_last"),
    ("trainer.device=cuda:99", "trainer.device is cuda:99", "trainer.device=cpu"),
    ("trainer.kernel=cuda", "trainer.kernel=cuda", "trainer.kernel=auto"),
    ("trainer.device=tpu", "trainer.device is 'tpu'", "cuda"),
    ("trainer.kernel=fastest", "trainer.kernel is 'fastest'", "reference"),
    ("trainer.monitor=val/accuracy", "trainer.monitor", "val/acc"),
    ("trainer.monitor=test/acc", "trainer.monitor", "val/acc"),
    ("plugins=[no_such_module]", "no_such_module", "PYTHONPATH"),
    ("experiment_name=a/b", "experiment_name", "folder"),
    ("experiment=unknown", "experiment=unknown does not exist", "nmnist"),
    ("hydra.searchpath=[file:///nowhere]", "hydra.searchpath", "path=/nowhere is not available"),
    ("--resolve", "--resolve", "--cfg"),
    ("--run --multirun seed=0,1", "--multirun", "exclude each other"),
    ("method=null", "method is null", "activation, timing, hybrid"),
    ("~loss=3", "loss is 3", "spike_train"),
    ("trainer=true", "Got bool", "by name"),
    ("method", "'method' cannot be read", "KEY=VALUE"),
    ("mode=test", "needs a checkpoint", "checkpoint="),
    ("mode=predict", "mode is 'predict'", "test"),
    ("checkpoint=x.pt", "checkpoint is given", "mode=test"),
    ("mode=test checkpoint=missing.pt", "missing.pt cannot be read", "path"),
    ("mode=test checkpoint=missing.pt optimizer.lr=1", "optimizer.lr cannot be changed", "trainer.device"),
    ("logger.mode=sometimes", "logger.mode", "offline"),
]


@pytest.mark.parametrize(("arguments", "names", "helps"), WRONG, ids=[case[0] for case in WRONG])
def test_one_line_exit_2_no_folder(
    arguments: str,
    names: str,
    helps: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments.split()) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("snnrun: error: ")
    assert names in lines[0]
    assert helps in lines[0]
    assert captured.out == ""
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("arguments", ["method=hibrid", "+sead=1", "method=timing loss=count", "dataset.T=0"])
def test_the_same_from_the_shell(arguments: str, tmp_path: Path) -> None:
    result = snnrun(*arguments.split(), cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert result.stderr.startswith("snnrun: error: ")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("arguments", ["seed=1 --info", "--info searchpath seed=1", "seed=1 -i defaults"])
def test_a_flag_with_and_without_a_value_beside_options(arguments: str, tmp_path: Path) -> None:
    result = snnrun(*arguments.split(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "outputs").exists()


def test_outputs_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("")
    result = snnrun(cwd=tmp_path)
    assert result.returncode == 2
    assert "outputs is a file" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_finished_run_is_never_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "done"
    folder.mkdir()
    (folder / "summary.json").write_text('{"status": "finished"}')
    result = snnrun(f"hydra.run.dir={folder}", cwd=tmp_path)
    assert result.returncode == 2
    assert "holds a finished run" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["summary.json"]


def test_a_sweep_with_an_unknown_value_never_starts(tmp_path: Path) -> None:
    result = snnrun("-m", "method=hybrid,hibrid", "seed=0,1", cwd=tmp_path)
    assert result.returncode == 2
    assert "method=hibrid does not exist" in result.stderr
    assert run_dirs(tmp_path) == []


def test_a_diverging_run_stops_with_a_line_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    plugin = (
        "from dataclasses import dataclass\n"
        "from snnrun.losses import Count\n"
        "from snnrun.registry import register\n"
        "@register('loss', 'explodes')\n"
        "@dataclass\n"
        "class Explodes(Count):\n"
        "    calls = 0\n"
        "    def __call__(self, output, targets):\n"
        "        type(self).calls += output.s.requires_grad\n"
        "        return super().__call__(output, targets) * (float('nan') if self.calls > 5 else 1.0)\n"
    )
    (tmp_path / "explodes.py").write_text(plugin)
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "explodes.yaml").write_text("name: explodes\n")
    result = snnrun(
        "--config-dir", "conf", "plugins=[explodes]", "loss=explodes", "debug=fast", "trainer.epochs=3", cwd=tmp_path
    )
    assert result.returncode == 2, result.stderr
    assert "loss is not finite in epoch 2" in result.stderr
    (run_dir,) = run_dirs(tmp_path)
    assert (run_dir / "checkpoints" / "last.pt").exists()
    evaluated = snnrun("mode=test", f"checkpoint={run_dir}/checkpoints/best.pt", "plugins=[explodes]", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr

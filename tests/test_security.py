"""Nobody's code runs because a file of theirs was read, and no archive writes outside its folder."""

import io
import os
import pickle
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from cli import only_run, snnrun

import snnrun as package
from snnrun import cli
from snnrun.data.archives import strict_tonic
from snnrun.errors import UserError


class Payload:
    """Pickled, it runs a command wherever it is loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


@pytest.fixture
def proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once somebody's code has run; the current folder is another one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "proof"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], says: str) -> None:
    assert cli.main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("snnrun: error: ")
    assert errors.count("\n") == 1
    assert says in errors
    assert not Path("outputs").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("trained")
    snnrun("debug=fast", "logger=none", "model.layers=fc8-out", cwd=cwd, check=True)
    return only_run(cwd)


@pytest.mark.parametrize("kind", ["zip", "legacy", "within"])
def test_a_checkpoint_with_a_pickle_payload(
    kind: str, trained: Path, proof: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("checkpoints/last.pt")
    path.parent.mkdir()
    if kind == "legacy":
        path.write_bytes(pickle.dumps(Payload(proof)))
    else:
        state = torch.load(trained / "checkpoints" / "last.pt", weights_only=True)
        torch.save(Payload(proof) if kind == "zip" else {**state, "extra": Payload(proof)}, path)
    refused(["mode=test", f"checkpoint={path}"], capsys, "damaged or not a checkpoint")
    refused(["resume=."], capsys, "damaged or not a checkpoint")
    with pytest.raises(UserError):
        package.load(str(path))
    assert not proof.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hydra": {"launcher": {"_target_": "os.system"}}}, "hydra node"),
        ({"experiment_name": "${oc.env:HOME}"}, "${...}"),
        ({"${oc.env:HOME}": 1}, "${...}"),
        ({"method": {"name": "hybrid", "_target_": "os.system"}}, "method._target_ is not an option"),
        ({"method": {"name": "os.system"}}, "which does not exist"),
        ({"_target_": "os.system"}, "_target_ is not an option"),
    ],
)
def test_a_checkpoint_whose_config_reaches_out(
    change: dict[str, Any], says: str, trained: Path, proof: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(trained / "checkpoints" / "last.pt", weights_only=True)
    Path("checkpoints").mkdir()
    torch.save({**state, "config": {**state["config"], **change}}, "checkpoints/last.pt")
    refused(["mode=test", "checkpoint=checkpoints/last.pt"], capsys, says)
    refused(["resume=."], capsys, says)
    with pytest.raises(UserError):
        package.load("checkpoints/last.pt")


def test_plugins_of_a_checkpoint_are_not_imported(trained: Path, proof: Path) -> None:
    Path("evil.py").write_text(f"import pathlib; pathlib.Path({str(proof)!r}).touch()")
    state = torch.load(trained / "checkpoints" / "last.pt", weights_only=True)
    torch.save({**state, "config": {**state["config"], "plugins": ["evil"]}}, "last.pt")
    package.load("last.pt")
    assert not proof.exists()
    package.load("last.pt", plugins=["evil"])
    assert proof.exists()


EVIL = {
    "method": "method: {_target_: os.system}",
    "top": "_target_: os.system",
    "launcher": "hydra: {launcher: {_target_: subprocess.getoutput, cmd: 'touch PROOF'}}",
    "sweeper": "hydra: {sweeper: {_target_: subprocess.getoutput, cmd: 'touch PROOF'}}",
    "callback": "hydra: {callbacks: {a: {_target_: subprocess.getoutput, cmd: 'touch PROOF'}}}",
    "logging": "hydra: {job_logging: {version: 1, handlers: {a: {(): subprocess.getoutput, cmd: 'touch PROOF'}}}}",
    "own_logging": "hydra: {hydra_logging: {version: 1, handlers: {a: {class: subprocess.Popen, args: [touch]}}}}",
    "hidden": "x: subprocess.getoutput\nhydra: {callbacks: {a: {_target_: '${x}', cmd: 'touch PROOF'}}}",
    "space": "hydra: {sweeper: {custom_search_space: evil.run}}",
    "commands": "hydra: {launcher: {setup: ['touch PROOF']}}",
    "variables": "hydra: {job: {env_set: {LD_PRELOAD: /tmp/evil.so}}}",
    "plugin": "plugins: [evil]",
    "tag": "x: !!python/object/apply:os.system ['touch PROOF']",
    "resolver": 'optimizer: {lr: "${eval:PROOF}"}',
}


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize("kind", EVIL)
def test_a_config_file_of_somebody_else(
    kind: str, multirun: bool, proof: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("theirs/experiment").mkdir(parents=True)
    Path("evil.py").write_text(f"import pathlib; pathlib.Path({str(proof)!r}).touch()")
    text = EVIL[kind].replace("PROOF", str(proof))
    Path("theirs/experiment/evil.yaml").write_text(f"# @package _global_\n{text}\n")
    refused([*["-m"][: int(multirun)], "--config-dir", "theirs", "experiment=evil", "debug=fast"], capsys, "")
    assert not proof.exists()


@pytest.mark.parametrize("group", ["launcher", "sweeper"])
def test_a_launcher_chosen_by_name_still_has_to_be_one(
    group: str, proof: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(f"theirs/hydra/{group}").mkdir(parents=True)
    Path(f"theirs/hydra/{group}/fast.yaml").write_text(f"_target_: subprocess.getoutput\ncmd: touch {proof}\n")
    refused(["-m", "--config-dir", "theirs", f"hydra/{group}=fast", "seed=0,1"], capsys, "would call code")
    assert not proof.exists()


@pytest.mark.parametrize(
    "option", ["+method._target_=os.system", "+_target_=os.system", "method={_target_: os.system}"]
)
def test_targets_on_the_command_line_are_no_options(
    option: str, proof: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused([option], capsys, "")


@pytest.mark.parametrize("flag", ["--experimental-rerun=a.pickle", "--config-path=/tmp", "--config-name=x"])
def test_flags_of_hydra_that_go_around_the_checks(flag: str, proof: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.pickle").write_bytes(pickle.dumps(Payload(proof)))
    refused([flag], capsys, "is not for snnrun")
    assert not proof.exists()


def evil_archives(folder: Path) -> list[Path]:
    """Archives that would write to ``outside`` beside the folder they are unpacked in, by names and by links."""
    found = []
    for number, names in enumerate(
        [["../outside"], [f"{folder}/outside"], ["a/../../outside"], ["link", "link/outside"]]
    ):
        with zipfile.ZipFile(folder / f"{number}.zip", "w") as archive:
            for name in names:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o120777 << 16 if name == "link" else 0o100644 << 16
                archive.writestr(entry, str(folder) if name == "link" else "x")
        with tarfile.open(folder / f"{number}.tar.gz", "w:gz") as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = (tarfile.SYMTYPE, str(folder)) if name == "link" else (tarfile.REGTYPE, "")
                info.size = 0 if name == "link" else 1
                archive.addfile(info, io.BytesIO(b"x"))
        found += [folder / f"{number}.zip", folder / f"{number}.tar.gz"]
    return found


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    """The checksum is held before; this is the second wall, for archives whose publisher is not what he was."""
    from tonic import download_utils

    for path in evil_archives(tmp_path):
        inside = tmp_path / "in" / path.name
        inside.mkdir(parents=True)
        with strict_tonic(), suppress(RuntimeError, OSError):
            download_utils.extract_archive(str(path), str(inside))
        assert not (tmp_path / "outside").exists(), path
        assert not (tmp_path / "in" / "outside").exists(), path
        assert not [each for each in inside.rglob("*") if each.is_symlink()], path
    with tarfile.open(tmp_path / "0.tar.gz") as archive, pytest.raises(tarfile.FilterError):
        archive.extractall(tmp_path / "in", filter="data")


def test_no_fall_back_to_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonic import download_utils

    monkeypatch.setattr(download_utils, "_get_redirect_url", lambda url, **_: url)
    with strict_tonic(), pytest.raises(ConnectionError, match="http is not taken"):
        download_utils.download_url("https://no.such.host.invalid/a.zip", str(tmp_path), "a.zip", "0" * 32)
    assert not (tmp_path / "a.zip").exists()


def test_published_addresses_are_https_with_checksums() -> None:
    from tonic import datasets

    from snnrun.data.mnist import MNIST, FashionMNIST

    for dataset in (MNIST, FashionMNIST):
        assert dataset.url.startswith("https://")
        assert all(len(file.md5_gz) == 32 for file in dataset.files)
    for part in ("train", "test"):
        assert getattr(datasets.NMNIST, f"{part}_url").startswith("https://")
        assert len(getattr(datasets.NMNIST, f"{part}_md5")) == 32


@pytest.mark.parametrize("open_part", ["formulas", "formulas/__pycache__", "."])
def test_compiled_code_is_not_taken_from_a_folder_that_others_can_write(
    open_part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snnrun.kernels.cpu import formula

    monkeypatch.setenv("SNNRUN_CACHE", str(tmp_path / "cache"))
    kept = formula._folder()
    assert kept == tmp_path / "cache" / "formulas"
    assert [path.stat().st_mode & 0o777 for path in (kept, kept / "__pycache__")] == [0o700, 0o700]
    (tmp_path / "cache" / open_part).chmod(0o777)
    with pytest.raises(PermissionError, match="written by others"):
        formula._folder()


def test_a_generated_source_that_was_changed_is_written_anew(tmp_path: Path, proof: Path) -> None:
    from snnrun.kernels.cpu import formula

    path = tmp_path / "formula_x.py"
    path.write_text(f"import pathlib; pathlib.Path({str(proof)!r}).touch()")
    assert formula._written("x = 1\n", path).read_text() == "x = 1\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["hydra.run.dir='outputs/${oc.env:${experiment_name}}'", "experiment_name=WANDB_API_KEY"],
        ["-m", "seed=0,1", "hydra.sweep.dir='x/${oc.env:${experiment_name}}'", "experiment_name=WANDB_API_KEY"],
        ["-m", "seed=0,1", "hydra.sweep.subdir='${oc.env:${experiment_name}}'", "experiment_name=WANDB_API_KEY"],
        ["experiment_name=${oc.env: WANDB_API_KEY }"],
    ],
)
def test_a_secret_by_a_detour(
    arguments: list[str], proof: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "5ec2e7" * 6)
    refused(arguments, capsys, "WANDB_API_KEY")
    assert list(Path().iterdir()) == []

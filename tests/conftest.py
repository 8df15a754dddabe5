"""What all tests share."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cli import snnrun

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _private_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the user's caches, data or W&B account."""
    places = {"SNNRUN_CACHE": str(tmp_path_factory.mktemp("cache")), "WANDB_MODE": "offline"}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("WANDB_", "SNNRUN_"))]:
            patch.delenv(name)
        for name, value in places.items():
            patch.setenv(name, value)
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """MNIST and some N-MNIST recordings, where the machine has them."""
    if not (SHARED / "NMNIST").is_dir():
        pytest.skip(f"real data is not at {SHARED}")
    return SHARED


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of packed stores."""
    monkeypatch.setenv("SNNRUN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep that has run.

    Attributes:
        folder: of the sweep; its jobs are numbered below it.
        output: what it printed, stdout and stderr.
    """

    folder: Path
    code: int
    output: str


WANDB_KEY = "5ec2e7" + "0123456789abcdef" * 2 + "zz"


@pytest.fixture(scope="session")
def wandb_sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Three methods, each with a learning rate that works (even jobs) and one that diverges; offline, with a key."""
    cwd = tmp_path_factory.mktemp("wandb_sweep")
    swept = ("method=activation,timing,hybrid", "optimizer.lr=2e-3,1e38")
    result = snnrun("-m", "debug=fast", "logger.log_model=true", *swept, cwd=cwd, WANDB_API_KEY=WANDB_KEY)
    (folder,) = (cwd / "outputs" / "debug").iterdir()
    return Sweep(folder, result.returncode, result.stdout + result.stderr)

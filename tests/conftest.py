"""What all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

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

"""One GPU per job, with faked visibility: no machine here has any."""

import pytest
import torch
from omegaconf import OmegaConf

from snnrun.gpus import device_for, visible_gpus
from snnrun.jobs import take_gpu

UUIDS = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,GPU-1ad2cd5c-4b1c-4f0e-8a1c-0c6fd4bbd4e0"


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As on a machine with four GPUs, all visible."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


def test_job_number_modulo_visible_gpus() -> None:
    assert [device_for(number, 3) for number in range(5)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert {device_for(number, visible) for number in range(5) for visible in (0, 1)} == {"auto"}


@pytest.mark.parametrize(
    ("listed", "visible"),
    [
        (None, 4),
        ("0,2", 2),
        ("3", 1),
        ("", 0),
        ("-1", 0),
        ("1,-1,2", 1),  # CUDA reads up to the first entry that names no device
        ("no,1", 0),
        (UUIDS, 2),
        ("MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/0/0", 1),
        ("0,1,2,3,4,5", 4),  # more than the machine has
    ],
)
def test_cuda_visible_devices_is_honoured(four_gpus: pytest.MonkeyPatch, listed: str | None, visible: int) -> None:
    assert visible_gpus({} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}) == visible


def test_without_cuda_there_is_nothing_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0,1"}) == 0


@pytest.mark.parametrize(
    ("asked", "number", "device"),
    [
        ({}, 1, "cuda:1"),
        ({"device": "auto"}, 6, "cuda:2"),
        ({"device": "cuda:1"}, 0, "cuda:1"),
        ({"device": "cpu"}, 3, "cpu"),
    ],
)
def test_a_job_takes_its_gpu_unless_told_another(
    four_gpus: pytest.MonkeyPatch, asked: dict[str, str], number: int, device: str
) -> None:
    node = OmegaConf.create({"trainer": asked})
    take_gpu(node, number)
    assert node.trainer.device == device


def test_a_job_with_an_allocation_of_its_own_takes_all_of_it(four_gpus: pytest.MonkeyPatch) -> None:
    four_gpus.setenv("CUDA_VISIBLE_DEVICES", "2")  # as SLURM sets it for a job with one GPU
    four_gpus.setattr(torch.cuda, "device_count", lambda: 1)
    node = OmegaConf.create({"trainer": {}})
    take_gpu(node, 7)
    assert "device" not in node.trainer  # auto, the only one

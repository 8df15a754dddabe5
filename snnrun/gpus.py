"""One GPU per job where several jobs share a machine."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch


def device_for(job_number: int, visible: int) -> str:
    """The device of a job of a sweep: job number modulo visible GPUs, ``auto`` where there is nothing to share out.

    Args:
        job_number: counts from 0.
        visible: number of GPUs that the job can see; a job with an allocation of its own sees its own only.
    """
    return f"cuda:{job_number % visible}" if visible > 1 else "auto"


def visible_gpus(environment: Mapping[str, str] = os.environ) -> int:
    """GPUs that this process can use.

    CUDA_VISIBLE_DEVICES lists numbers or UUIDs (``0,2``, ``GPU-8d...,GPU-1f...``, ``MIG-...``); ``cuda:K`` then counts
    in that list. As CUDA does, it is read up to the first entry that names no device.
    """
    if not torch.cuda.is_available():
        return 0
    found, listed = torch.cuda.device_count(), environment.get("CUDA_VISIBLE_DEVICES")
    return found if listed is None else min(found, _entries(listed))


def _entries(listed: str) -> int:
    count = 0
    for entry in listed.split(","):
        entry = entry.strip()
        if not (entry.isdigit() or entry.startswith(("GPU-", "MIG-"))):
            break
        count += 1
    return count

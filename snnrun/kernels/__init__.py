"""Kernels run the neuron's recurrences over time; all share the signatures of :mod:`snnrun.kernels.reference`.

A kernel is a module with ``prepare(formula)``, ``simulate`` and ``backpropagate``. It is imported when it is chosen:
numba and Triton take their time.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING

from snnrun.errors import UserError
from snnrun.kernels.constants import NeuronConstants, unit_beta

if TYPE_CHECKING:  # comparisons use unit_beta and start fast without torch
    import torch

KERNELS = ("reference", "cpu", "cuda")


def choose(name: str, device: torch.device) -> str:
    """The kernel that ``trainer.kernel=name`` stands for; ``auto`` takes the fastest that can run on the device.

    Raises:
        UserError: the kernel that was asked for cannot run there.
    """
    triton = importlib.util.find_spec("triton") is not None
    if name == "auto":
        if device.type == "cuda":
            return "cuda" if triton else "reference"
        return "cpu" if device.type == "cpu" else "reference"
    if name == "cuda" and not triton:
        raise UserError("trainer.kernel=cuda needs Triton, which is not installed", "Choose trainer.kernel=auto")
    if name in ("cpu", "cuda") and name != device.type:
        raise UserError(f"trainer.kernel={name} cannot run on the device {device}", "Choose trainer.kernel=auto")
    return name


def load(name: str) -> ModuleType:
    """A kernel's module."""
    return importlib.import_module(f"snnrun.kernels.{name}")


def telling(name: str, tell: Callable[[str], None]) -> AbstractContextManager[None]:
    """While entered, ``tell`` hears what a kernel does before it can start: compiling, once per installation."""
    context: AbstractContextManager[None] = getattr(load(name), "telling", lambda _: nullcontext())(tell)
    return context


__all__ = ["KERNELS", "NeuronConstants", "choose", "load", "telling", "unit_beta"]

"""Kernels run the neuron's recurrences over time; all share the signatures of :mod:`snnrun.kernels.reference`."""

from __future__ import annotations

from types import ModuleType

from snnrun.kernels import reference
from snnrun.kernels.constants import NeuronConstants, unit_beta

KERNELS: dict[str, ModuleType] = {"reference": reference}


def choose(name: str) -> str:
    """The kernel that ``trainer.kernel=name`` stands for; ``auto`` takes the fastest that can run here."""
    return "reference" if name == "auto" else name


__all__ = ["KERNELS", "NeuronConstants", "choose", "unit_beta"]

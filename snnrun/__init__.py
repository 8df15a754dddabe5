"""snnrun: train spiking networks with activation, timing and hybrid gradients, and compare what each spike buys."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

# Read when torch is imported. Its OpenMP threads otherwise spin between operations, on cores that kernels and other
# jobs need (measured: steps ten times slower beside one busy process); and its large tensors come in pages of 4 KiB,
# each a fault (measured: convolutional networks take 1.7 times as long).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if TYPE_CHECKING:
    from snnrun.snn import Network

__version__ = "0.1.0"
__all__ = ["__version__", "load", "run"]


def run(overrides: Sequence[str] = (), config_dir: str | None = None) -> dict[str, Any]:
    """Train one network, as the command line would.

    Args:
        overrides: as on the command line, ``["method=hybrid", "trainer.epochs=3"]``.
        config_dir: folder with config files of your own.

    Returns:
        The content of the run's summary.json.

    Raises:
        snnrun.errors.UserError: what the command line would end with exit code 2 for.
    """
    from snnrun.api import run

    return run(overrides, config_dir)


def load(checkpoint: str, plugins: Sequence[str] = ()) -> Network:
    """The trained network in a checkpoint, on the CPU; call it with input spikes [T, B, *shape].

    Args:
        checkpoint: path of a .pt file of a run.
        plugins: modules to import first, where the run used components of your own.

    Raises:
        snnrun.errors.UserError: missing or damaged checkpoint, unknown component.
    """
    from snnrun.api import load

    return load(checkpoint, plugins)

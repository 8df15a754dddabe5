"""Starting one run, in one process or in all that torchrun has started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snnrun.config import Config, check
from snnrun.distributed import World
from snnrun.experiment import Run
from snnrun.stop import Stop

_COMPOSED_S = 600.0  # more than enough for the first process to read options and checkpoint


def start(world: World, config: Config, run_dir: Path, group: str, checkpoint: Mapping[str, Any] | None = None) -> None:
    """Run; see :class:`snnrun.experiment.Run`. The first process lets the others begin."""
    if world.is_first:
        world.post("run", {"config": config.to_dict(), "run_dir": str(run_dir), "group": group})
    stop = Stop(world)
    with stop.listening():
        Run(config, run_dir, group, stop, checkpoint, world)()


def follow(world: World) -> int:
    """What all processes but the first do: take config and folder from it, without Hydra, and run along.

    Returns:
        0, also where the first process has nothing to run: its exit code is the one that counts.
    """
    told = world.wait_for("run", _COMPOSED_S)
    if told is not None:
        start(world, check(told["config"]), Path(told["run_dir"]), told["group"])
    return 0

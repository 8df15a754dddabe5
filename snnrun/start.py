"""Starting one run, in one process or in all that torchrun has started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from snnrun.config import Config, check
from snnrun.distributed import World
from snnrun.experiment import Run
from snnrun.resume import compose_resume
from snnrun.rundir import claim
from snnrun.stop import Stop
from snnrun.stored import compose_test

_COMPOSED_S = 600.0  # more than enough for the first process to read options and checkpoint


def start(world: World, config: Config, run_dir: Path, group: str, checkpoint: Mapping[str, Any] | None = None) -> None:
    """Run; see :class:`snnrun.experiment.Run`. The first process lets the others begin."""
    if world.is_first:
        world.post("run", {"config": config.to_dict(), "run_dir": str(run_dir), "group": group})
    stop = Stop(world)
    with stop.listening():
        Run(config, run_dir, group, stop, checkpoint, world)()


def start_from_checkpoint(
    world: World, overrides: Sequence[str], config_dir: str | None, cfg: str | None, resume: bool
) -> int:
    """Without Hydra, which would write the .hydra of a resumed run anew, and knows nothing of stored configs."""
    if resume:
        config, state, run_dir, group = compose_resume(overrides, config_dir)
    else:
        config, state, folder = compose_test(overrides, config_dir)
        run_dir, group = Path(folder), config.options.experiment_name
    if cfg:
        print(yaml.safe_dump(config.to_dict(), sort_keys=False), end="")
        return 0
    if not resume:
        claim(run_dir)
    start(world, config, run_dir, group, state)
    return 0


def follow(world: World) -> int:
    """What all processes but the first do: take config and folder from it, without Hydra, and run along.

    Returns:
        0, also where the first process has nothing to run: its exit code is the one that counts.
    """
    told = world.wait_for("run", _COMPOSED_S)
    if told is not None:
        start(world, check(told["config"]), Path(told["run_dir"]), told["group"])
    return 0

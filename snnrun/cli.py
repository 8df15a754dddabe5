"""The command line: check first, then let Hydra run the job; one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from snnrun import __version__
from snnrun.arguments import parse
from snnrun.composition import compose_node, conf_dir, folder_of, open_groups, to_plain
from snnrun.config import check
from snnrun.distributed import FailedElsewhere, ToldByFirst, World, join
from snnrun.errors import DivergedError, Interrupted, UserError
from snnrun.jobs import run_job
from snnrun.multirun import quoted, run_sweep, sweep_overrides
from snnrun.rundir import claim
from snnrun.start import follow, start, start_from_checkpoint
from snnrun.stored import parse_overrides
from snnrun.sweep import check_sweep


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 done, 2 user error, 130 or 143 stopped). A bug raises."""
    world = join()
    code, said = _outcome(list(sys.argv[1:] if argv is None else argv), world)
    if said:
        print(f"snnrun: {said}", file=sys.stderr, flush=True)
    return world.end(code)


def _outcome(argv: list[str], world: World) -> tuple[int, str]:
    """Exit code, and what there is to say about it; of several processes, one says it."""
    try:
        return _dispatch(argv, world) if world.is_first else follow(world), ""
    except UserError as error:
        if not (world.is_first or isinstance(error, ToldByFirst | FailedElsewhere | DivergedError)):
            world.fail(error)
        return 2, f"error: {error}" if world.is_first else ""
    except Interrupted as error:
        return 128 + error.signum, f"{error}; what was finished is in the run's folder" if world.is_first else ""
    except KeyboardInterrupt:
        return 130, "stopped" if world.is_first else ""


def _dispatch(argv: list[str], world: World) -> int:
    if argv == ["--version"]:
        print(f"snnrun {__version__}")
        return 0
    options, argv = parse(argv)
    parsed = parse_overrides(options.overrides)
    if options.help or options.hydra_help or options.info or options.shell_completion:
        return _hydra(argv, lambda node: None)
    if options.multirun and not options.cfg:
        if world.size > 1:
            raise UserError("-m sweeps over many runs, torchrun shares out one", "Start each job by its own torchrun")
        sweep = check_sweep(options.overrides, options.config_dir)
        added = sweep_overrides(sweep, options.overrides)
        claim(sweep.folder)
        return run_sweep(sweep, options.overrides, lambda: _hydra([*argv, *added], run_job))
    for override in parsed:
        if override.key_or_group == "hparams_search" and override.value() is not None and not options.multirun:
            raise UserError(f"{override.input_line} searches over many runs", "Add -m")
        if override.is_sweep_override():
            raise UserError(
                f"{override.input_line} gives several values", "Add -m to sweep over them, or write [A,B] for a list"
            )
    resume = _given(parsed, "resume") is not None
    if resume or _given(parsed, "mode") == "test":
        return start_from_checkpoint(world, options.overrides, options.config_dir, options.cfg, resume)
    node = compose_node(options.overrides, options.config_dir)
    config = check(to_plain(node))
    if options.cfg:
        if options.cfg != "job" or options.package:
            return _hydra(argv, lambda node: None)
        print(yaml.safe_dump(config.to_dict(), sort_keys=False), end="")
        return 0
    folder = folder_of(node)
    claim(folder)
    return _single(
        [*argv, f"hydra.run.dir={quoted(str(folder))}"], world
    )  # composed anew, its time stamp would be another


def _single(argv: list[str], world: World) -> int:
    """Run Hydra around one job; whatever the job raises is raised here, outside of Hydra's own reporting."""
    raised: list[BaseException] = []

    def job(node: DictConfig) -> None:
        run_dir = Path(HydraConfig.get().runtime.output_dir)
        try:
            config = check(to_plain(node))
            start(world, config, run_dir, config.options.experiment_name)
        except BaseException as error:
            raised.append(error)

    code = _hydra(argv, job)
    if raised:
        raise raised[0]
    return code


def _hydra(argv: list[str], job: Callable[[DictConfig], Any]) -> int:
    open_groups()
    before = sys.argv
    sys.argv = ["snnrun", *argv]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
        return 0
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    finally:
        sys.argv = before


def _given(overrides: Sequence[Override], key: str) -> Any:
    """What the command line sets an option to; None where it does not."""
    values = [override.value() for override in overrides if override.key_or_group == key]
    return values[-1] if values else None


if __name__ == "__main__":
    sys.exit(main())

"""The command line's arguments: Hydra's flags, those of them that are for snnrun, and overrides."""

from __future__ import annotations

import argparse
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from snnrun.errors import UserError

_COMPLETIONS = ("install", "uninstall", "query")


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Hydra's flags and our overrides, in any order; and the same arguments in the order that Hydra can read."""
    parser = get_args_parser()
    parser.error = _usage_error  # type: ignore[method-assign]
    options = parser.parse_intermixed_args(argv)
    for flag in ("config_path", "config_name", "experimental_rerun"):  # the last one unpickles what it is given
        if getattr(options, flag, None) is not None:
            name = flag.replace("_", "-")
            raise UserError(
                f"--{name} is not for snnrun", "Files of your own: --config-dir DIR; a run again: resume=RUN"
            )
    if options.resolve and not (options.cfg or options.help):
        _usage_error("--resolve is for --cfg or --help")
    if options.run + options.multirun + options.shell_completion + (options.info is not None) > 1:
        _usage_error("--run, --multirun, --shell-completion and --info exclude each other")
    kinds = [override.partition("=")[0] for override in options.overrides]
    if options.shell_completion and (len(kinds) != 1 or kinds[0] not in _COMPLETIONS):
        _usage_error("--shell-completion needs one of install=SHELL, uninstall=SHELL, query=SHELL")
    flags = [argument for argument in argv if argument not in options.overrides]
    if options.info is not None:  # without its value, Hydra would take the first override for it
        flags = [flag for flag in flags if flag not in ("--info", "-i", options.info)] + [f"--info={options.info}"]
    return options, [*flags, *options.overrides]


def _usage_error(message: str) -> NoReturn:
    raise UserError(message, "snnrun --help shows how to call it")

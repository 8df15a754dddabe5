"""Config files are data: what Hydra would import or run for one is refused, unless the command line asks for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from snnrun.errors import UserError

_CLASSES = re.compile(
    r"hydra\._internal\.core_plugins\.basic_\w+\.Basic(Launcher|Sweeper)"
    r"|hydra_plugins\.hydra_\w+(\.\w+)+\.\w*(Launcher|Sweeper)"
    r"|hydra_plugins\.hydra_\w+\.config\.\w+Config"
    r"|optuna\.samplers\.\w+Sampler"
)
_LOGGING = re.compile(r"(logging|colorlog)\.\w+(\.\w+)*")
_SEARCH_SPACES = ("snnrun.search.suggest",)
# shell commands and environments of jobs
_COMMANDS = ("setup", "python", "srun_args", "additional_parameters", "env_set", "init_hook", "runtime_env")


def refuse_code(node: DictConfig, overrides: Sequence[str]) -> None:
    """Look through what was composed from files and the command line, ``hydra`` included.

    Raises:
        UserError: a file names something to import or to run that is none of Hydra's own parts, or names plugins.
    """
    given = [re.split("[=@]", override.lstrip("+~"))[0].replace("/", ".") for override in overrides]
    for path, value in _leaves(OmegaConf.to_container(node, resolve=False)):
        asked = any(path == key or path.startswith(f"{key}.") for key in given if not _is_choice(key))
        chosen = path.startswith("hydra.launcher.") and "hydra.launcher" in given
        what = None if asked else _runs(path, value, chosen)
        if what:
            raise UserError(
                f"a config file sets {path} to {str(value)[:80]!r}, {what}",
                "Say so on the command line if you trust it",
            )


def _runs(path: str, value: Any, chosen: bool) -> str | None:
    """What a value would do that a file may not do; None where it does nothing."""
    parts = path.split(".")
    if value in (None, "", [], {}):
        return None
    if parts[0] == "plugins":
        return "which would import code"
    if parts[0] != "hydra":
        return None
    text = str(value)
    if parts[-1] == "_target_":
        return None if _CLASSES.fullmatch(text) else "which would call code"
    if "job_logging" in parts or "hydra_logging" in parts:
        named = parts[-1] in ("()", "class", "factory") and not _LOGGING.fullmatch(text)
        outside = "ext://" in text and text not in ("ext://sys.stdout", "ext://sys.stderr")
        return "which would call code" if named or outside else None
    if parts[-1] == "custom_search_space" and text not in _SEARCH_SPACES:
        return "which would call code"
    return "which would run in jobs" if not chosen and any(part in _COMMANDS for part in parts) else None


def _is_choice(key: str) -> bool:
    """``hydra/launcher=mine`` chooses a file; it does not vouch for what the file calls."""
    return key in ("hydra.launcher", "hydra.sweeper", "hydra.job_logging", "hydra.hydra_logging", "hydra.callbacks")


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and node:
        for value in node:
            yield from _leaves(value, path)
    else:
        yield path, node

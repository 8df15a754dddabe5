"""Configs that come out of a checkpoint: read as data, changed only where that is safe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf, open_dict

from snnrun import checkpoint
from snnrun.composition import compose_node, to_plain
from snnrun.config import Config, check
from snnrun.errors import UserError

# What may change between training and evaluating a checkpoint without changing what is evaluated.
SAFE = (
    "mode",
    "checkpoint",
    "plugins",
    "experiment_name",
    "logger",
    "dataset.root",
    "dataset.workers",
    "trainer.device",
    "trainer.kernel",
    "trainer.threads",
    "trainer.eval_batch_size",
    "hydra.run.dir",
)


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Hydra's override grammar.

    Raises:
        UserError: an override that does not parse.
    """
    try:
        return list(OverridesParser.create().parse_overrides(list(overrides)))
    except OverrideParseException as error:
        raise UserError(f"{error.override!r} cannot be read as an option", "Write KEY=VALUE") from None


def stored_config(state: Mapping[str, Any], plugins: Sequence[str] = ()) -> dict[str, Any]:
    """The config in a checkpoint, as plain data; its plugins are replaced by those named now.

    Raises:
        UserError: it holds interpolations or a ``hydra`` node, which could reach outside of it.
    """
    config = state["config"]
    if not isinstance(config, dict):
        raise UserError("the checkpoint holds no config")
    if "hydra" in config or _has_interpolation(config):
        raise UserError("the config stored in the checkpoint holds ${...} or a hydra node, and is refused")
    return {**config, "plugins": list(plugins)}


def compose_test(overrides: Sequence[str], config_dir: str | None) -> tuple[Config, dict[str, Any], str]:
    """The configuration of ``mode=test``: the checkpoint's own, with safe overrides.

    Returns:
        Config, the checkpoint's state, and the folder for the new run.

    Raises:
        UserError: an override that would change what is evaluated; a bad checkpoint.
    """
    parsed = parse_overrides(overrides)
    refuse_others(parsed, SAFE, "in mode=test, it comes from the checkpoint")
    node = compose_node(overrides, config_dir)
    asked = to_plain(node)
    if not asked.get("checkpoint"):
        raise UserError("mode=test needs a checkpoint", "Add checkpoint=RUN_DIR/checkpoints/best.pt")
    state = checkpoint.load(str(asked["checkpoint"]))
    with checkpoint.whole(str(asked["checkpoint"])):
        plain = stored_config(state, asked.get("plugins") or ())
        apply(parsed, asked, plain)
        config = check(plain)
    with open_dict(node):
        node.merge_with(OmegaConf.create({key: plain[key] for key in ("method", "dataset", "seed", "experiment_name")}))
    return config, state, str(node.hydra.run.dir)


def refuse_others(overrides: Sequence[Override], safe: Sequence[str], why: str) -> None:
    """Let only named options be changed.

    Raises:
        UserError: names the first other one.
    """
    for override in overrides:
        key = override.key_or_group
        if override.is_delete() or not any(key == each or key.startswith(f"{each}.") for each in safe):
            raise UserError(f"{key} cannot be changed {why}", f"What may change: {', '.join(safe)}")


def apply(overrides: Sequence[Override], asked: Mapping[str, Any], plain: dict[str, Any]) -> None:
    """Copy what was asked for on the command line, and nothing else, into a stored config."""
    for override in overrides:
        key = override.key_or_group
        if key == "logger" or key.startswith("logger."):
            plain["logger"] = asked["logger"]
        elif not key.startswith("hydra"):
            _copy(key.split("."), asked, plain)


def _copy(path: list[str], source: Mapping[str, Any], target: dict[str, Any]) -> None:
    *parents, last = path
    for name in parents:
        if not isinstance(target.get(name), dict):
            raise UserError(f"the stored config has no {name}")
        source, target = source[name], target[name]
    target[last] = source[last]


def _has_interpolation(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(_has_interpolation(part) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(map(_has_interpolation, value))

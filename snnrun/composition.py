"""From the command line's overrides to plain data: Hydra composes yaml files and overrides, nothing is checked yet."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnrun import registry
from snnrun.config import RunOptions
from snnrun.credentials import refuse_secrets
from snnrun.errors import UserError
from snnrun.extras import missing_choice
from snnrun.strangers import refuse_code
from snnrun.wording import did_you_mean, first_sentence


def conf_dir() -> Path:
    """The folder of yaml files: inside the package once installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def compose_node(overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """Let Hydra compose yaml files and overrides, with the ``hydra`` node, nothing checked beyond that.

    Raises:
        UserError: Hydra's own complaint, in one line.
    """
    open_groups()
    for override in overrides:
        refuse_secrets(override, override.partition("=")[0])
    if config_dir is not None and not Path(config_dir).is_dir():
        raise UserError(f"--config-dir {config_dir} is not a folder", "Name one that holds method/, dataset/ ...")
    extra = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    try:
        with initialize_config_dir(str(conf_dir()), job_name="snnrun", version_base="1.3"), warnings.catch_warnings():
            warnings.filterwarnings("error", message="provider=.* is not available")
            node = compose("config", [*overrides, *extra], return_hydra_config=True)
    except MissingConfigException as error:
        raise _missing_config(error) from None
    except yaml.YAMLError as error:
        raise UserError(f"a config file is no valid YAML: {first_sentence(error)}") from None
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(first_sentence(error), _hint_for(overrides)) from None
    except UserWarning as warning:
        raise UserError(f"hydra.searchpath: {first_sentence(warning)}", "Name a folder that is there") from None
    except ValueError as error:
        raise _unnamed_choice(error, overrides) from None
    refuse_code(node, overrides)
    refuse_secrets(OmegaConf.to_container(node, resolve=False))  # Hydra's own options, too: they name folders
    for part in _resolvable(node.hydra, "hydra"):
        refuse_secrets(part)
    return node


def open_groups() -> None:
    """Register the node that lets options of a component be set although its yaml does not list them."""
    # our launcher configs have the names of their plugins' schemas and are held against them: wanted, but deprecated
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
    groups = {group: OmegaConf.create({}, flags={"struct": False}) for group in (*registry.GROUPS, "trainer")}
    ConfigStore.instance().store(name="open_groups", node=OmegaConf.create(groups))


def to_plain(node: DictConfig) -> dict[str, Any]:
    """Resolve a composed node to plain data, Hydra's own part left out.

    Raises:
        UserError: an interpolation that cannot be resolved.
    """
    with_hydra = OmegaConf.to_container(node, resolve=False)
    assert isinstance(with_hydra, dict)
    keys = [str(key) for key in with_hydra if key != "hydra"]
    try:
        plain = {key: _resolved(node, key) for key in keys}
    except OmegaConfBaseException as error:
        raise UserError(first_sentence(error)) from None
    return plain


def folder_of(node: DictConfig, kind: str = "run") -> Path:
    """The folder that Hydra will make for a run or, by ``kind="sweep"``, a sweep.

    Raises:
        UserError: its name needs an option that was taken out (``~seed``) or cannot be resolved.
    """
    try:
        return Path(str(node.hydra[kind].dir))
    except OmegaConfBaseException as error:
        raise UserError(
            f"hydra.{kind}.dir cannot be resolved: {first_sentence(error)}", "Leave that option in"
        ) from None


def _resolved(node: DictConfig, key: str) -> Any:
    value = node[key]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _resolvable(node: DictConfig, path: str) -> Iterator[dict[str, str]]:
    """What Hydra's own options stand for, each with its place; some are known only once a job runs."""
    for key in map(str, node):
        with suppress(OmegaConfBaseException):
            value = node[key]
            if OmegaConf.is_dict(value):
                yield from _resolvable(value, f"{path}.{key!s}")
            else:
                yield {f"{path}.{key!s}": str(value)}


def _missing_config(error: MissingConfigException) -> UserError:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return UserError(first_sentence(error))
    missing = missing_choice(group, name)
    if missing is not None:
        return missing
    choices = ", ".join(error.options or ()) or "none"
    return UserError(f"{group}={name} does not exist", f"Choose from: {choices}")


def _unnamed_choice(error: ValueError, overrides: Sequence[str]) -> UserError:
    """Hydra does not say which group it was that got null, true or a number instead of a name."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        group, value = override.key_or_group, override.value()
        if group in registry.GROUPS and not isinstance(value, (str, dict)):
            said = str(override.input_line).partition("=")[2]
            return UserError(f"{group} is {said}", f"Choose from: {', '.join(registry.names(group))}")
    return UserError(first_sentence(error), "Choose by name, as in method=hybrid")


def _hint_for(overrides: Sequence[str]) -> str:
    own = (field.name for field in dataclasses.fields(RunOptions))
    roots = sorted({*own, *registry.GROUPS, "trainer", "experiment", "debug", "hparams_search"})
    unknown = [key for override in overrides if (key := override.lstrip("+~").split("=")[0].split(".")[0]) not in roots]
    unknown = [key for key in unknown if key.split("/")[0] != "hydra"]
    if not unknown:
        return ""
    places = [f"{group}.{unknown[0]}" for group in registry.GROUPS if unknown[0] in registry.options_of(group)]
    if places:
        return f"Did you mean {' or '.join(places)}?"
    return did_you_mean(unknown[0], roots, "")

"""One checked configuration from plain data.

Each group's node is merged into the dataclass of the component that it names, so unknown keys, types and ranges are
checked in one place, and yaml holds only what differs from the dataclass.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnrun import kernels, registry
from snnrun.credentials import refuse_secrets
from snnrun.data import Dataset
from snnrun.errors import PairError, UserError
from snnrun.losses import Loss
from snnrun.memory import refuse_too_large
from snnrun.methods import Method
from snnrun.metrics import metric_keys
from snnrun.observers import Logger
from snnrun.optim import Optimizer, Scheduler
from snnrun.registry import param
from snnrun.snn import parse_layers
from snnrun.snn.models import Model
from snnrun.trainer import TrainerOptions
from snnrun.wording import did_you_mean, first_sentence

T = TypeVar("T")

_LONGEST_NAME = 200  # bytes; file systems take 255, of which W&B and locks may want some


@dataclass
class RunOptions:
    """Options at the top level, beside the groups."""

    seed: int = param(0, ge=0, le=2**32 - 1)
    mode: str = param("train", choices=("train", "test"))
    checkpoint: str | None = None
    resume: str | None = None
    plugins: list[str] = dataclasses.field(default_factory=list)
    experiment_name: str = "default"


@dataclass(frozen=True)
class Config:
    """A checked configuration: every node is a typed component."""

    options: RunOptions
    method: Method
    loss: Loss
    dataset: Dataset
    model: Model
    optimizer: Optimizer
    scheduler: Scheduler
    trainer: TrainerOptions
    logger: Logger
    loss_why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data that :func:`check` turns into an equal configuration."""
        result: dict[str, Any] = dataclasses.asdict(self.options)
        for group in registry.GROUPS:
            node = getattr(self, group)
            result[group] = {"name": node.name, **dataclasses.asdict(node)}
        return result | {"trainer": dataclasses.asdict(self.trainer)}


def check(node: Mapping[str, Any]) -> Config:
    """Turn plain data into a checked configuration.

    Raises:
        UserError: names the option that is unknown, of a wrong type, out of range, or does not fit the others.
    """
    refuse_secrets(node)
    node = dict(node)
    groups = {group: node.pop(group, None) for group in (*registry.GROUPS, "trainer")}
    if isinstance(node.get("plugins"), str):  # plugins=mine, without the brackets
        node["plugins"] = [node["plugins"]]
    options = _merge(RunOptions, node, "")
    for plugin in options.plugins:
        import_plugin(plugin)
    dataset = cast(Dataset, _component("dataset", groups["dataset"]))
    groups["method"] = _with_defaults(groups["method"], dataset.method_options)
    others = [group for group in registry.GROUPS if group not in ("dataset", "loss")]
    components: dict[str, Any] = {group: _component(group, groups[group]) for group in others}
    method = cast(Method, components["method"])
    loss, why = _loss(groups["loss"], method, dataset)
    trainer = _merge(TrainerOptions, groups["trainer"] or {}, "trainer.")
    config = Config(options=options, loss=loss, dataset=dataset, trainer=trainer, loss_why=why, **components)
    _check_across(config)
    return config


def import_plugin(name: str) -> None:
    """Import a user's module, found in the current folder or on PYTHONPATH.

    Raises:
        UserError: it does not exist, or fails to import.
    """
    here = str(Path.cwd())
    if here not in sys.path:  # a console script has no working folder on its path
        sys.path.insert(0, here)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0]:
            raise UserError(f"plugin {name} needs the module {error.name}, which is not installed") from None
        raise UserError(f"plugins names {name}, which is neither in {here} nor on PYTHONPATH") from None
    except Exception as error:  # whatever a user's module raises is the user's to mend
        raise UserError(f"plugin {name} fails to import ({type(error).__name__}: {error})") from error


def learnable(method: Method) -> list[str]:
    """Names of the losses that a method can learn from: those that feed a gradient channel it reads."""
    return [name for name in registry.names("loss") if registry.component("loss", name).channels & method.channels]


def _component(group: str, node: Any) -> Any:
    if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
        raise UserError(f"{group} has no name", f"Choose one as {group}=NAME from: {', '.join(registry.names(group))}")
    cls = registry.component(group, node["name"])
    instance: Any = _merge(cls, {key: value for key, value in node.items() if key != "name"}, f"{group}.")
    if hasattr(instance, "check"):
        instance.check()
    return instance


def _loss(node: Any, method: Method, dataset: Dataset) -> tuple[Loss, str]:
    """The loss, and why ``auto`` chose it."""
    works = learnable(method)
    if not dataset.has_labels:
        works = [name for name in works if not registry.component("loss", name).needs_labels]
    node = _with_defaults(node, dataset.loss_options)
    if not isinstance(node, Mapping) or node.get("name") != "auto":
        loss = cast(Loss, _component("loss", node))
        if loss.name not in works:
            learner = f"method={method.name}" if dataset.has_labels else f"method={method.name} on {dataset.name}"
            learner += _without(method)
            hint = f"Losses that work: {', '.join(works) or 'none'}"
            raise PairError(f"{learner} cannot learn from loss={loss.name}", hint)
        return loss, ""
    if not works:
        raise PairError(f"no loss fits method={method.name}{_without(method)} on dataset={dataset.name}")
    preferred = dataset.preferred_loss in works
    name = dataset.preferred_loss if preferred else works[0]
    why = f"the first choice for {dataset.name}" if preferred else f"{method.name} cannot learn from "
    why += "" if preferred else f"{dataset.preferred_loss}, the first choice for {dataset.name}"
    # auto accepts the options of every loss, so that a sweep over methods may set them; only its choice's apply
    own = {field.name for field in dataclasses.fields(registry.component("loss", name))}
    given = {key: value for key, value in node.items() if key != "name"}
    unused = [key for key in given if key not in own and key in registry.options_of("loss")]
    if unused:
        why += f"; not used by it: {', '.join('loss.' + key for key in unused)}"
    kept = {key: value for key, value in given.items() if key not in unused}
    return cast(Loss, _component("loss", {"name": name, **dataset.loss_options.get(name, {}), **kept})), why


def _with_defaults(node: Any, by_name: Mapping[str, Mapping[str, float]]) -> Any:
    """A component's node with the options that a data set sets for it; what the node holds wins."""
    return {**by_name.get(str(node.get("name")), {}), **node} if isinstance(node, Mapping) else node


def _without(method: Method) -> str:
    """Words for a method that reads less than both gradient channels because of its options."""
    off = [key for key in ("lambda_act", "lambda_tim") if getattr(method, key, 1) == 0]
    return f" with {' and '.join(f'{key}=0' for key in off)}" if off else ""


def _merge(cls: type[T], given: Mapping[str, Any], prefix: str) -> T:
    """Plain data into a dataclass, with unknown keys, types and ranges checked."""
    known = {field.name for field in dataclasses.fields(cast(Any, cls))}
    for key in given:
        if key not in known:
            raise UserError(f"{prefix}{key} is not an option", did_you_mean(str(key), sorted(known), prefix))
    try:
        schema = OmegaConf.structured(cls)
        merged = OmegaConf.merge(schema, OmegaConf.create(dict(given)))
        instance: Any = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        name = f"{prefix}{error.full_key or error.key or ''}"
        raise UserError(f"{name} has a wrong type: {first_sentence(error)}") from None
    registry.check_ranges(instance, prefix)
    return cast(T, instance)


def _check_across(config: Config) -> None:
    specs = parse_layers(config.model.layers, config.dataset.shape, config.dataset.outputs)
    spiking = sum(spec.kind in ("dense", "conv") for spec in specs)
    _check_monitor(config, spiking)
    _check_loss(config, has_conv=any(spec.kind == "conv" for spec in specs))
    _check_device(config.trainer.device)
    kernels.choose(config.trainer.kernel, config.trainer.torch_device())
    if config.options.mode == "train" and config.options.checkpoint is not None:
        raise UserError("checkpoint is given, but mode is train", "Evaluate it by mode=test")
    if config.options.resume is not None:  # snnrun.resume has taken it out where it belongs
        raise UserError("resume goes on with one run, and cannot be swept", "A sweep goes on by its own command")
    refuse_too_large(specs, config.dataset.T, 1)
    name = config.options.experiment_name
    usable = name.isprintable() and len(name.encode()) <= _LONGEST_NAME and not any(bad in name for bad in "/\\")
    if not name or name in (".", "..") or not usable:
        raise UserError(f"experiment_name is {name!r}", "It must be usable as the name of a folder")


def _check_monitor(config: Config, spiking_layers: int) -> None:
    monitor = config.trainer.monitor
    known = [f"val/{key}" for key in metric_keys(spiking_layers)]
    if monitor not in known:
        raise UserError(f"trainer.monitor is {monitor!r}", did_you_mean(monitor, known, ""))


def _check_loss(config: Config, has_conv: bool) -> None:
    loss, T = config.loss, config.dataset.T
    if loss.rate_weight and has_conv and "activation" not in config.method.channels:
        raise PairError(
            f"loss.rate_weight={loss.rate_weight:g} does not reach convolutions by method={config.method.name}",
            "It acts on dense layers only here: set loss.rate_weight=0, or take a method with an activation channel",
        )
    period = getattr(loss, "period", 1)
    if period > T:
        raise UserError(f"loss.period={period} leaves no target spike in dataset.T={T} steps", "Make it smaller")


def _check_device(name: str) -> None:
    import torch

    if name in ("auto", "cpu"):
        return
    kind, _, index = name.partition(":")
    if kind != "cuda" or (index and not re.fullmatch("[0-9]{1,4}", index)):
        raise UserError(f"trainer.device is {name!r}", "It must be auto, cpu, cuda or cuda:N")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= found:
        raise UserError(
            f"trainer.device is {name}, but this machine shows {found} CUDA devices", "Try trainer.device=cpu"
        )

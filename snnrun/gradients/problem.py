"""What is measured: networks, a loss and batches, composed from the same options as a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from hydra.core.override_parser.types import Override

from snnrun import checkpoint as checkpoints
from snnrun import kernels, registry
from snnrun.composition import compose_node, to_plain
from snnrun.config import Config, check, import_plugin, learnable
from snnrun.data import Batch, Data, Quiet, batches, shuffled
from snnrun.errors import UserError
from snnrun.gradients.subject import Subject
from snnrun.methods import Method
from snnrun.provenance import available_cores
from snnrun.snn import Events, Network
from snnrun.snn.init import calibrate, shift_and_gain
from snnrun.stored import apply, parse_overrides, refuse_others, stored_config

_SHARED_LOSS = "loss=spike_train"  # the one that feeds both channels, so that all methods can be compared
# what may be asked of a trained network; all else comes with it
_SAFE = ("loss", "plugins", "dataset.root", "dataset.workers", "trainer.kernel", "trainer.threads")


@dataclass(frozen=True)
class Problem:
    """One loss on one data set, the methods that can learn from it, and where the networks come from.

    Attributes:
        config: of the first method; all others differ from it in the method only.
        methods: by name, as configured.
        left_out: methods that cannot learn from the loss: their gradient of it is zero.
        state: a checkpoint's; None: networks as they are before training.
    """

    config: Config
    methods: Mapping[str, Method]
    left_out: Sequence[str]
    data: Data
    seed: int
    state: Mapping[str, Any] | None = None
    checkpoint: str = ""

    def subject(self, index: int, batch_size: int, rate: float | None = None, number: int = 0) -> Subject:
        """A network with a batch of training samples.

        Args:
            index: which network: before training it has the first weights of a run with ``seed + index``.
            batch_size: samples; as many as there are, where there are fewer.
            rate: scale each layer until its neurons fire so many spikes per sample of this batch; None: leave them.
            number: which batch, in the order of the first epoch.

        Raises:
            UserError: the checkpoint's weights do not fit.
        """
        config, data, seed = self.config, self.data, self.seed + index
        kernel = kernels.load(kernels.choose(config.trainer.kernel, torch.device("cpu")))
        order = self._order(seed)

        def build(method: Method) -> Network:
            return config.model.build(data.shape, data.outputs, config.dataset.T, method, kernel)

        torch.manual_seed(seed)
        first, *others = self.methods
        network = build(self.methods[first])
        if self.state is not None:
            checkpoints.load_network(network, self.state, self.checkpoint)
        else:
            shift_and_gain(network, config.model.gain, config.model.shift)
            if config.model.init == "calibrate":
                calibrate(network, _dense(self._batch(order[: config.trainer.batch_size])), config.model.rate)
        start = number * batch_size % max(1, len(order))
        batch = self._batch(order[start : start + batch_size])
        if rate is not None:
            calibrate(network, _dense(batch), rate)
        networks = {first: network} | {name: build(self.methods[name]) for name in others}
        for name in others:
            networks[name].load_state_dict(network.state_dict())
        return Subject(networks, config.loss, batch)

    def whole_batches(self, batch_size: int) -> int:
        """Batches of this size that the training data give; at least one."""
        return max(1, len(self._order(self.seed)) // batch_size)

    def _order(self, seed: int) -> np.ndarray:
        """Training samples as the first epoch shows them, those that it repeats only once."""
        order = shuffled(len(self.data.train), seed, epoch=0)
        _, first = np.unique(self.data.train.indices[order], return_index=True)
        once: np.ndarray = order[np.sort(first)]
        return once

    def _batch(self, order: np.ndarray) -> Batch:
        return next(batches(self.data.train, len(order), order=order))


def compose(
    overrides: Sequence[str],
    methods: Sequence[str] | None = None,
    seed: int = 0,
    checkpoint: str | None = None,
    config_dir: str | None = None,
) -> Problem:
    """From a run's options to a problem.

    Args:
        overrides: as for ``snnrun``; without a loss or a preset among them, ``loss=spike_train`` is added. An option of
            a method goes to the methods that have it.
        methods: names; None: all that can learn from the loss.
        checkpoint: .pt file of a run, whose network and data are taken then.

    Raises:
        UserError: what ``snnrun`` would refuse; a method or seed among the overrides; no method left.
    """
    parsed = _parsed(overrides)
    keys = {override.key_or_group for override in parsed}
    state: dict[str, Any] | None = None
    if checkpoint is not None:
        of_network = [override for override in parsed if not override.key_or_group.startswith("method.")]
        refuse_others(of_network, _SAFE, "with --checkpoint, it comes from there")
        state = checkpoints.load(checkpoint)
    elif not keys & {"loss", "experiment"}:
        overrides = [_SHARED_LOSS, *overrides]
    options = _Options(overrides, seed, config_dir, state, checkpoint or "")
    asked = list(methods or registry.names("method"))
    chosen = asked if methods else _learners(asked, options)
    configs = {name: options.config(name) for name in chosen}
    config = next(iter(configs.values()))
    if config.trainer.device not in ("auto", "cpu"):
        raise UserError(f"trainer.device is {config.trainer.device}, this is measured on the CPU", "Leave it out")
    torch.set_num_threads(config.trainer.threads or available_cores())
    data = config.dataset.load(seed, Quiet())
    left_out = [name for name in asked if name not in chosen]
    found = {name: each.method for name, each in configs.items()}
    return Problem(config, found, left_out, data, seed, state, checkpoint or "")


class _Options(NamedTuple):
    """What configurations are composed from; they differ in the method."""

    overrides: Sequence[str]
    seed: int
    config_dir: str | None
    state: Mapping[str, Any] | None
    checkpoint: str

    def config(self, method: str) -> Config:
        registry.component("method", method)  # an unknown one is told as such
        own = _of_method(self.overrides, method)
        node = to_plain(compose_node([f"method={method}", f"seed={self.seed}", "logger=none", *own], self.config_dir))
        if self.state is None:
            return check(node)
        with checkpoints.whole(self.checkpoint):
            plain = stored_config(self.state, node.get("plugins") or ())
            trained_by = plain.get("method") or {}
            plain["method"] = trained_by if trained_by.get("name") == method else {"name": method}
            plain["logger"] = node["logger"]
            plain["trainer"] = {**(plain.get("trainer") or {}), "device": "cpu", "kernel": "auto", "threads": None}
            apply([each for each in parse_overrides(own) if each.key_or_group != "plugins"], node, plain)
            return check(plain)


def _parsed(overrides: Sequence[str]) -> list[Override]:
    """The overrides, none of them for something that has an option here; their plugins are imported."""
    parsed = parse_overrides(overrides)
    for override in parsed:
        key = override.key_or_group
        if override.is_sweep_override():
            raise UserError(f"{override.input_line} gives several values", "One problem is measured at a time")
        if key in ("mode", "resume"):
            raise UserError(f"{override.input_line} is not for this script", "Leave it out")
        if key in ("method", "seed", "checkpoint"):
            option = "methods" if key == "method" else key
            raise UserError(f"{override.input_line} is not for this script", f"Use --{option}")
        if key == "plugins":
            value = override.value()
            for plugin in value if isinstance(value, list) else [value]:
                import_plugin(str(plugin))
    return parsed


def _learners(names: Sequence[str], options: _Options) -> list[str]:
    """The methods that can learn from the loss; one that reads both channels is asked which loss it is."""
    made = {name: registry.component("method", name)() for name in names}
    widest = max(names, key=lambda name: len(made[name].channels))
    loss = options.config(widest).loss
    return [name for name in names if loss.name in learnable(made[name])]


def _of_method(overrides: Sequence[str], name: str) -> list[str]:
    """Without the options of methods that only others have."""
    own = {field.name for field in fields(registry.component("method", name))}
    anyones = {field.name for each in registry.names("method") for field in fields(registry.component("method", each))}

    def is_others(override: str) -> bool:
        group, _, rest = override.lstrip("+~").partition(".")
        key = rest.partition("=")[0]
        return group == "method" and key in anyones - own

    return [override for override in overrides if not is_others(override)]


def _dense(batch: Batch) -> torch.Tensor:
    return batch.spikes.dense() if isinstance(batch.spikes, Events) else batch.spikes

"""From Python: the same runs as from the command line, and trained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from snnrun import checkpoint as checkpoints
from snnrun.composition import compose_node, folder_of, to_plain
from snnrun.config import check
from snnrun.experiment import Run
from snnrun.kernels import choose
from snnrun.kernels import load as load_kernel
from snnrun.resume import compose_resume
from snnrun.snn import Network
from snnrun.stop import Stop
from snnrun.stored import compose_test, stored_config


def run(overrides: Sequence[str] = (), config_dir: str | None = None) -> dict[str, Any]:
    """See :func:`snnrun.run`."""
    stop = Stop()
    if any(override.startswith("resume=") for override in overrides):
        config, state, run_dir, group = compose_resume(overrides, config_dir)
        return Run(config, run_dir, group, stop, state)()
    if "mode=test" in overrides:
        config, state, folder = compose_test(overrides, config_dir)
        return Run(config, Path(folder), config.options.experiment_name, stop, state)()
    node = compose_node(overrides, config_dir)
    config = check(to_plain(node))
    return Run(config, folder_of(node), config.options.experiment_name, stop)()


def load(checkpoint: str, plugins: Sequence[str] = ()) -> Network:
    """See :func:`snnrun.load`."""
    state = checkpoints.load(checkpoint)
    with checkpoints.whole(checkpoint):
        return _network(checkpoint, state, plugins)


def _network(checkpoint: str, state: Mapping[str, Any], plugins: Sequence[str]) -> Network:
    plain = stored_config(state, plugins)
    # a network needs neither the data nor the machine that it was trained on
    for group, here in (("dataset", {"root": None}), ("trainer", {"device": "cpu", "kernel": "auto"})):
        plain[group] = {**(plain.get(group) or {}), **here}
    config = check(plain)
    dataset, kernel = config.dataset, load_kernel(choose(config.trainer.kernel, torch.device("cpu")))
    network = config.model.build(dataset.shape, dataset.outputs, dataset.T, config.method, kernel)
    checkpoints.load_network(network, state, checkpoint)
    return network.eval()

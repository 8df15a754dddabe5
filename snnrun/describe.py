"""What a run tells about itself before its first step: the first summary.json, and what observers are shown."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snnrun.config import Config
from snnrun.data import Data
from snnrun.observers import LayerInfo, RunInfo
from snnrun.provenance import versions
from snnrun.rundir import this_process
from snnrun.snn import Network, Trace, silent_shares
from snnrun.snn.layers import Synapse
from snnrun.trainer import Trainer, monitored


def first_summary(config: Config, run_dir: Path, group: str) -> dict[str, Any]:
    """The content of summary.json while nothing is known but the configuration."""
    return {
        "status": "running",
        **this_process(),
        "error": None,
        "mode": config.options.mode,
        "method": config.method.name,
        "loss": config.loss.name,
        "model": config.model.name,
        "dataset": config.dataset.name,
        "T": config.dataset.T,
        "seed": config.options.seed,
        "epochs": 0,
        "time": {"train_s": 0.0, "samples_per_s": None},
        "val": {},
        "test": {},
        "group": group,
        "versions": versions(),
        "run_dir": str(run_dir),
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def data_summary(data: Data, config: Config) -> dict[str, Any]:
    """Sizes of the splits, and what identifies them."""
    return {
        "n_train": len(data.train),
        "n_val": len(data.val),
        "n_test": len(data.test),
        "split_seed": config.dataset.split_seed,
        "hash": data.hash,
    }


def kept_summary(previous: Mapping[str, Any]) -> dict[str, Any]:
    """What a resumed run keeps of its summary.json until it knows better."""
    kept = ("started", "epochs", "time", "val", "best_epoch", "monitor")
    found = {key: previous[key] for key in kept if key in previous}
    # a process that could not say how it ended could not close its files either
    cut_off = previous.get("status") == "running" or bool(previous.get("cut_off"))
    return found | {"resumed": previous.get("resumed", 0) + 1, "cut_off": cut_off}


def run_info(
    config: Config,
    summary: Mapping[str, Any],
    run_dir: Path,
    data: Data,
    layers: Sequence[LayerInfo],
    trainer: Trainer | None = None,
) -> RunInfo:
    """What observers are shown before the first step; a trainer says where it goes on."""
    return RunInfo(
        run_dir=run_dir,
        config=config.to_dict(),
        mode=config.options.mode,
        method=config.method.name,
        loss=config.loss.name,
        loss_why=config.loss_why,
        model=config.model.name,
        dataset=config.dataset.name,
        group=summary["group"],
        T=config.dataset.T,
        seed=config.options.seed,
        epochs=config.trainer.epochs,
        steps=config.trainer.epochs * -(-len(data.train) // config.trainer.batch_size),
        data=summary["data"],
        layers=layers,
        params=summary["params"],
        kernel=summary["kernel"],
        device=summary["device"],
        threads=summary["threads"],
        input_shape=data.shape,
        monitor=monitored(config.trainer.monitor, config.dataset.has_labels),
        processes=summary["processes"],
        run_id=None if trainer is None else str(trainer.run_facts["run_id"]),
        resumed_at=None if trainer is None else trainer.resumed_at,
        past=() if trainer is None else trainer.past,
        cut_off=bool(summary.get("cut_off")),
    )


def layer_infos(network: Network, first: Trace) -> list[LayerInfo]:
    """Every stage of the network, with what its neurons did on one batch."""
    batch_size = first.output.s.shape[1]
    spiking = iter(zip(first.layers, silent_shares(first), strict=True))
    infos = []
    for spec, stage in zip(network.specs, network.stages, strict=True):
        params = sum(parameter.numel() for parameter in stage.parameters())
        if isinstance(stage, Synapse):
            layer, silent = next(spiking)
            rate = layer.total.item() / batch_size / math.prod(spec.out_shape)
            infos.append(LayerInfo(spec.token, spec.out_shape, params, rate, silent))
        else:
            infos.append(LayerInfo(spec.token, spec.out_shape, params))
    return infos

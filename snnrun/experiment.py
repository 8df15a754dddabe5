"""One run: builds every part from one config, trains or tests, leaves the run's folder behind."""

from __future__ import annotations

import datetime
import logging
import math
import os
import socket
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from snnrun import checkpoint, kernels
from snnrun.config import Config
from snnrun.data import Data, batches, shuffled
from snnrun.errors import Interrupted, UserError
from snnrun.evidence import collect
from snnrun.metrics import Metrics, higher_is_better
from snnrun.observers import (
    ConsoleObserver,
    LayerInfo,
    Observers,
    Outcome,
    Row,
    RunInfo,
    build_observers,
    write_summary,
)
from snnrun.provenance import available_cores, log_file, versions
from snnrun.snn import Events, Network, Trace, silent_shares
from snnrun.snn.init import calibrate, shift_and_gain
from snnrun.snn.layers import Synapse
from snnrun.step import gradient_step
from snnrun.stop import Stop
from snnrun.trainer import Trainer, evaluate, monitored

log = logging.getLogger("snnrun")


@dataclass
class Run:
    """One run in the making.

    Attributes:
        group: name under which runs are compared: the sweep's folder or the experiment's name.
        checkpoint: state to evaluate, in mode test.
    """

    config: Config
    run_dir: Path
    group: str
    stop: Stop
    checkpoint: Mapping[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        """Train (or test) and return the content of summary.json.

        Raises:
            UserError: bad data or a diverged loss; summary.json then says ``failed``.
            Interrupted: summary.json then says ``interrupted``.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.rows: list[Row] = []
        self.observers: Observers | None = None
        self.console = ConsoleObserver()
        self.summary = self._first_summary()
        with log_file(self.run_dir / "snnrun.log"):
            write_summary(self.run_dir, self.summary)
            try:
                self._run()
            except BaseException as error:
                self._end_badly(error)
                raise
        return self.summary

    def _run(self) -> None:
        config = self.config
        self.threads = config.trainer.threads or available_cores()
        torch.set_num_threads(self.threads)
        self.device = config.trainer.torch_device()
        if self.device.index is not None:
            torch.cuda.set_device(self.device)  # Triton launches kernels on the current GPU
        # on GPUs: convolutions in full float32, the same every time, or spikes near the threshold flip
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        self.kernel = kernels.choose(config.trainer.kernel, self.device)
        self.summary |= {"kernel": self.kernel, "device": str(self.device), "threads": self.threads}
        self.data = config.dataset.load(config.options.seed, self.console)
        self.summary["data"] = _data_summary(self.data, config)
        with kernels.telling(self.kernel, self.console.note):
            network, first = self._network()
        self.summary["params"] = sum(parameter.numel() for parameter in network.parameters())
        self.observers = build_observers(config.logger, self.console)
        self.observers.start(self._info(network, first))
        if self.checkpoint is None:
            self._train(network)
        else:
            self._test(network, self.checkpoint)

    def _network(self) -> tuple[Network, Trace]:
        """The network with its first weights, and what it does with the first training batch."""
        config = self.config
        torch.manual_seed(config.options.seed)
        network = config.model.build(
            self.data.shape, self.data.outputs, config.dataset.T, config.method, kernels.load(self.kernel)
        ).to(self.device)
        # shuffled, for recordings are sorted by class
        order = shuffled(len(self.data.train), config.options.seed, epoch=0)
        batch = next(batches(self.data.train, config.trainer.batch_size, order=order)).to(self.device)
        if self.checkpoint is not None:
            checkpoint.load_network(network, self.checkpoint, config.options.checkpoint or "")
        else:
            shift_and_gain(network, config.model.gain, config.model.shift)
            if config.model.init == "calibrate":
                spikes = batch.spikes.dense() if isinstance(batch.spikes, Events) else batch.spikes
                calibrate(network, spikes, config.model.rate)
        if self.checkpoint is None:  # a gradient to be thrown away: kernels compile now, not within the first epoch
            gradient_step(network, config.loss, *batch)
            network.zero_grad()
        with torch.no_grad():
            return network, network(batch.spikes)

    def _train(self, network: Network) -> None:
        config = self.config
        assert self.observers is not None
        trainer = Trainer(
            network=network,
            loss=config.loss,
            data=self.data,
            optimizer_options=config.optimizer,
            scheduler_options=config.scheduler,
            options=config.trainer,
            seed=config.options.seed,
            workers=config.dataset.workers,
            stored_config=config.to_dict(),
            observer=self.observers,
            run_dir=self.run_dir,
            device=self.device,
            stop=self.stop,
        )
        self.rows = trainer.rows
        try:
            trainer.fit()
        finally:
            samples = len(self.data.train) * len(trainer.rows)
            self.summary["time"] = {
                "train_s": trainer.train_s,
                "samples_per_s": samples / trainer.train_s if trainer.train_s else None,
            }
            self.summary["epochs"] = len(trainer.rows)
            self.summary["monitor"] = trainer.monitor
            self.summary["best_epoch"] = trainer.best_epoch
            self.summary["val"] = {key.removeprefix("val/"): value for key, value in trainer.best.items()}
        best = checkpoint.load(self.run_dir / "checkpoints" / "best.pt")
        checkpoint.load_network(network, best, "best.pt")
        self._finish(network, epoch=trainer.epoch, step=trainer.step)

    def _test(self, network: Network, state: Mapping[str, Any]) -> None:
        self.summary |= {"epochs": state["epoch"], "checkpoint": str(self.config.options.checkpoint)}
        validation = self._evaluate(network, "val").result()
        self.summary["val"] = validation
        self._finish(network, epoch=state["epoch"], step=state["step"])

    def _finish(self, network: Network, epoch: int, step: int) -> None:
        """Touch the test set, once, and tell everyone."""
        assert self.observers is not None
        metrics = self._evaluate(network, "test")
        result = metrics.result()
        evidence = collect(network, self.data.test, metrics, self.config.loss.decision, self.device)
        row: Row = {"epoch": epoch, "step": step, **{f"test/{key}": value for key, value in result.items()}}
        self.rows.append(row)
        self.observers.row(row)
        self.summary |= {"test": result, "status": "finished"}
        self._end(evidence)

    def _evaluate(self, network: Network, part: str) -> Metrics:
        config = self.config
        return evaluate(
            network,
            config.loss,
            getattr(self.data, part),
            config.trainer.eval_batch_size,
            config.dataset.workers,
            self.device,
        )

    def _end(self, evidence: Any = None) -> None:
        if self.observers is None:
            write_summary(self.run_dir, self.summary)
        else:
            self.observers.finish(Outcome(self.summary, self.rows, evidence))

    def _end_badly(self, error: BaseException) -> None:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        self.summary["status"] = "interrupted" if stopped else "failed"
        self.summary["error"] = str(error) if isinstance(error, UserError | Interrupted) else repr(error)
        self.summary["bug"] = not (stopped or isinstance(error, UserError))
        log.error("%s", self.summary["error"])
        if self.summary["bug"]:
            log.error("%s", "".join(traceback.format_exception(error)))
        self._end()

    def _first_summary(self) -> dict[str, Any]:
        config = self.config
        return {
            "status": "running",
            "pid": os.getpid(),
            "host": socket.gethostname(),
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
            "group": self.group,
            "versions": versions(),
            "run_dir": str(self.run_dir),
            "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        }

    def _info(self, network: Network, first: Trace) -> RunInfo:
        config, data = self.config, self.data
        steps = config.trainer.epochs * -(-len(data.train) // config.trainer.batch_size)
        return RunInfo(
            run_dir=self.run_dir,
            config=config.to_dict(),
            mode=config.options.mode,
            method=config.method.name,
            loss=config.loss.name,
            loss_why=config.loss_why,
            model=config.model.name,
            dataset=config.dataset.name,
            group=self.group,
            T=config.dataset.T,
            seed=config.options.seed,
            epochs=config.trainer.epochs,
            steps=steps,
            data=self.summary["data"],
            layers=_layer_infos(network, first),
            params=self.summary["params"],
            kernel=self.kernel,
            device=str(self.device),
            threads=self.threads,
            input_shape=data.shape,
            monitor=monitored(config.trainer.monitor, config.dataset.has_labels),
        )


def score(summary: Mapping[str, Any], monitor: str) -> float:
    """What a search maximises or minimises: the monitored metric of the best epoch, or the worst finite value."""
    value = (summary.get("val") or {}).get(monitor.removeprefix("val/"))
    if summary["status"] == "finished" and value is not None and math.isfinite(value):
        return float(value)
    return 0.0 if higher_is_better(monitor) else sys.float_info.max


def _data_summary(data: Data, config: Config) -> dict[str, Any]:
    return {
        "n_train": len(data.train),
        "n_val": len(data.val),
        "n_test": len(data.test),
        "split_seed": config.dataset.split_seed,
        "hash": data.hash,
    }


def _layer_infos(network: Network, first: Trace) -> list[LayerInfo]:
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

"""One run: builds every part from one config, trains or tests, leaves the run's folder behind."""

from __future__ import annotations

import logging
import math
import secrets
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from snnrun import atomic, checkpoint, describe, kernels
from snnrun.config import Config
from snnrun.data import Quiet, Reporter, batches, shuffled
from snnrun.distributed import World
from snnrun.errors import Interrupted, OutputError, UserError
from snnrun.evaluation import evaluate
from snnrun.evidence import collect
from snnrun.memory import is_exhausted, refuse_too_large
from snnrun.metrics import Metrics, higher_is_better
from snnrun.observers import ConsoleObserver, Observers, Outcome, Row, build_observers, write_summary
from snnrun.provenance import available_cores, log_file
from snnrun.rundir import BEST, LAST, prepare, read_summary, remove_leftovers, whole_rows
from snnrun.snn import Events, Network, Trace, parse_layers
from snnrun.snn.init import calibrate, shift_and_gain
from snnrun.step import gradient_step
from snnrun.stop import Stop
from snnrun.trainer import Trainer

log = logging.getLogger("snnrun")


@dataclass
class Run:
    """One run in the making.

    Attributes:
        group: name under which runs are compared: the sweep's folder or the experiment's name.
        checkpoint: state to evaluate, in mode test; in mode train, state to go on from in the same folder.
        world: the processes that work at it; the first one has the checkpoint, writes and speaks for all.
    """

    config: Config
    run_dir: Path
    group: str
    stop: Stop
    checkpoint: Mapping[str, Any] | None = None
    world: World = field(default_factory=World)

    def __call__(self) -> dict[str, Any]:
        """Train (or test) and return the content of summary.json.

        Raises:
            UserError: bad data, a diverged loss or a full disk; summary.json then says ``failed``, or what it said
                before, where a run could not even be resumed.
            Interrupted: summary.json then says ``interrupted``.
        """
        self.rows: list[Row] = []
        self.observers: Observers | None = None
        self.console = ConsoleObserver()
        self.reporter: Reporter = self.console if self.world.is_first else Quiet()
        self.testing = self.config.options.mode == "test"
        self.state = None if self.testing else self.checkpoint
        self.begun = self.told = False
        if not self.world.is_first:
            self.summary = describe.first_summary(self.config, self.run_dir, self.group)
            self._run()
            return self.summary
        with atomic.told(self.run_dir):
            prepare(self.run_dir)
            remove_leftovers(self.run_dir)
        self.summary = describe.first_summary(self.config, self.run_dir, self.group)
        if self.state is not None:
            self.summary |= describe.kept_summary(read_summary(self.run_dir))
        with log_file(self.run_dir / "snnrun.log"):
            write_summary(self.run_dir, self.summary)
            try:
                self._run()
            except BaseException as error:
                told = self._told(error)
                self._end_badly(told)
                if told is error:
                    raise
                raise told from None
        return self.summary

    def _run(self) -> None:
        config = self.config
        self.checkpoint = self.world.from_first(lambda: self.checkpoint)
        self.state = None if self.testing else self.checkpoint
        network, first = self.world.together(self._build)
        layers = describe.layer_infos(network, first)
        observers = build_observers(config.logger, self.console) if self.world.is_first else Observers([])
        if self.testing:
            assert self.checkpoint is not None
            self.observers = observers
            observers.start(describe.run_info(config, self.summary, self.run_dir, self.data, layers))
            self._test(network, self.checkpoint)
            return
        trainer = self._trainer(network, observers)
        info = describe.run_info(config, self.summary, self.run_dir, self.data, layers, trainer)
        self.begun, self.observers = True, observers
        observers.start(info)
        self.summary.pop("cut_off", None)  # they have seen to it
        self._train(trainer)

    def _told(self, error: BaseException) -> BaseException:
        """What a user can mend by smaller sizes is no bug."""
        if not is_exhausted(error):
            return error
        hint = "Make trainer.batch_size, trainer.eval_batch_size, model.layers or dataset.T smaller"
        return UserError("the memory of this machine or its GPU is used up", hint)

    def _build(self) -> tuple[Network, Trace]:
        """Device, kernel, data and network; all that a user may have to mend before the run can begin."""
        config = self.config
        self.threads = self._threads()
        torch.set_num_threads(self.threads)
        self.device = self.world.device(config.trainer.torch_device())
        if self.device.index is not None:
            torch.cuda.set_device(self.device)  # Triton launches kernels on the current GPU
        # on GPUs: convolutions in full float32, the same every time, or spikes near the threshold flip
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        self.kernel = kernels.choose(config.trainer.kernel, self.device)
        self.summary |= {"kernel": self.kernel, "device": str(self.device), "threads": self.threads}
        self.summary["processes"] = self.world.size
        self.data = config.dataset.load(config.options.seed, self.reporter)
        self.summary["data"] = describe.data_summary(self.data, config)
        if self.state is not None and self.state["data"] != self.data.hash:
            raise UserError("the data are not those that the run was trained on", "Give the same dataset.root")
        with kernels.telling(self.kernel, self.reporter.note):
            network, first = self._network()
        self.summary["params"] = sum(parameter.numel() for parameter in network.parameters())
        return network, first

    def _threads(self) -> int:
        """As asked; else as before an interruption, for sums depend on it in their last bits; else all cores."""
        cores = available_cores(self.world.local_size)
        if self.config.trainer.threads is not None or self.state is None:
            return self.config.trainer.threads or cores
        with checkpoint.whole(self.run_dir / LAST):
            threads = int(self.state["threads"])
            if self.world.size != self.state.get("processes", 1):
                return cores
            if not 1 <= threads <= 4096:
                raise ValueError(f"threads is {threads}")
        if threads != cores:
            self.reporter.note(f"goes on with {threads} threads as before, not the {cores} of this machine")
        return threads

    def _network(self) -> tuple[Network, Trace]:
        """The network with its first weights, and what it does with the first training batch."""
        config = self.config
        if self.device.type == "cpu":
            specs = parse_layers(config.model.layers, self.data.shape, self.data.outputs)
            refuse_too_large(specs, config.dataset.T, min(config.trainer.batch_size, len(self.data.train)))
        torch.manual_seed(config.options.seed)
        network = config.model.build(
            self.data.shape, self.data.outputs, config.dataset.T, config.method, kernels.load(self.kernel)
        ).to(self.device)
        # shuffled, for recordings are sorted by class
        order = shuffled(len(self.data.train), config.options.seed, epoch=0)
        first = order[: config.trainer.batch_size]
        batch = next(batches(self.data.train, len(first), order=self.world.part(first))).to(self.device)
        if self.checkpoint is not None:
            path = config.options.checkpoint if self.testing else self.run_dir / LAST
            checkpoint.load_network(network, self.checkpoint, path or "")
        else:
            shift_and_gain(network, config.model.gain, config.model.shift)
            if config.model.init == "calibrate":
                whole = next(batches(self.data.train, len(first), order=first)).to(self.device)
                spikes = whole.spikes.dense() if isinstance(whole.spikes, Events) else whole.spikes
                calibrate(network, spikes, config.model.rate)
        if not self.testing:  # a gradient to be thrown away: kernels compile now, not within the first epoch
            gradient_step(network, config.loss, *batch)
            network.zero_grad()
        with torch.no_grad():
            return network, network(batch.spikes)

    def _trainer(self, network: Network, observers: Observers) -> Trainer:
        config = self.config
        run_id = secrets.token_hex(4) if self.state is None else str(self.state["run_id"])
        facts = {"run_id": run_id, "threads": self.threads, "processes": self.world.size, "data": self.data.hash}
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
            run_facts=facts,
            observer=observers,
            run_dir=self.run_dir,
            device=self.device,
            stop=self.stop,
            world=self.world,
        )
        if self.state is not None:
            trainer.restore(self.state, self.world.from_first(lambda: whole_rows(self.run_dir)))
        return trainer

    def _train(self, trainer: Trainer) -> None:
        try:
            trainer.fit()
        finally:
            at = trainer.at
            self.rows = list(at.rows)
            samples = len(self.data.train) * len(at.rows) + (0 if at.between_epochs else at.samples)
            self.summary["time"] = {
                "train_s": at.train_s,
                "samples_per_s": samples / at.train_s if at.train_s else None,
            }
            self.summary["epochs"] = len(at.rows)
            self.summary["monitor"] = trainer.monitor
            self.summary["best_epoch"] = at.best_epoch
            self.summary["val"] = {key.removeprefix("val/"): value for key, value in at.best.items()}
        best = self.world.from_first(lambda: checkpoint.load(self.run_dir / BEST))
        checkpoint.load_network(trainer.network, best, self.run_dir / BEST)
        self._finish(trainer.network, epoch=at.epoch, step=at.step)

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
        """Stops between batches, when a data worker is neither being asked nor ended."""
        config = self.config
        with self.stop.deferred():
            metrics = evaluate(
                network,
                config.loss,
                getattr(self.data, part),
                config.trainer.eval_batch_size,
                config.dataset.workers,
                self.device,
                self.world,
                self._stop_if_asked,
            )
            self._stop_if_asked()
        return metrics

    def _stop_if_asked(self) -> None:
        if self.stop.agree():
            self.stop.obey()

    def _end(self, evidence: Any = None) -> None:
        if self.observers is None or self.told:
            write_summary(self.run_dir, self.summary)
        else:
            self.told = True
            self.observers.finish(Outcome(self.summary, self.rows, evidence))

    def _end_badly(self, error: BaseException) -> None:
        self.stop.ending()
        stopped = isinstance(error, Interrupted | KeyboardInterrupt) or self.stop.handing_on
        if stopped and read_summary(self.run_dir).get("status") == "finished":
            return  # the signal came while observers were closing; what the run was for is on disk
        # what cannot be resumed here and now may well be resumed elsewhere, or later
        resumable = self.state is not None and not self.begun
        self.summary["status"] = "interrupted" if stopped or resumable else "failed"
        self.summary["error"] = str(error) if isinstance(error, UserError | Interrupted) else repr(error)
        self.summary["bug"] = not (stopped or isinstance(error, UserError))
        log.error("%s", self.summary["error"])
        if self.summary["bug"]:
            log.error("%s", "".join(traceback.format_exception(error)))
        with suppress(OutputError):  # a full disk: the error that is on its way says so already
            self._end()


def score(summary: Mapping[str, Any], monitor: str) -> float:
    """What a search maximises or minimises: the monitored metric of the best epoch, or the worst finite value."""
    value = (summary.get("val") or {}).get(monitor.removeprefix("val/"))
    if summary["status"] == "finished" and value is not None and math.isfinite(value):
        return float(value)
    return 0.0 if higher_is_better(monitor) else sys.float_info.max

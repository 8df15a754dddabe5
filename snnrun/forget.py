"""What Hydra keeps of every job until its sweep ends, and nobody reads: let go, or serial jobs add up."""

from __future__ import annotations

from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

OVERRIDE = "++hydra.callbacks.forget._target_=snnrun.forget.ForgetConfigs"


class ForgetConfigs(Callback):
    """Drops a finished job's composed configs, some thousand objects; .hydra/ and config.yaml have them."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        job_return.cfg = job_return.hydra_cfg = None

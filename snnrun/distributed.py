"""Several processes at one run: who is there, what each takes of a batch, and sums over all of them.

Plain torch.distributed: what is reduced is one gradient and a dozen numbers a step, at moments that METHODS.md fixes.
A process alone is a :class:`World` in which nothing is to be done.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from snnrun.errors import Interrupted, UserError

T = TypeVar("T")

# A process that dies is noticed at once. This is for one that hangs; a download or packing may take its time.
_TIMEOUT = datetime.timedelta(minutes=30)
_ENDED, _FAILED = "ended", "failed"


class PeerLost(Interrupted):
    """Another process of the run is gone; the run can go on from its last checkpoint."""

    def __init__(self, reason: str) -> None:
        super().__init__(signal.SIGTERM)
        self.args = (f"another process of this run is gone ({' '.join(reason.split())[:120]})",)


class ToldByFirst(UserError):
    """An error that the first process shows, raised in the others."""


class FailedElsewhere(UserError):
    """An error of another process in the middle of its work, raised in those that needed it."""


class World:
    """One process that is alone; :class:`Torchrun` is one of many.

    Attributes:
        rank, size: which of how many processes; 0 is the first, which alone writes and speaks.
        local_rank, local_size: the same on this machine.
    """

    rank, size, local_rank, local_size = 0, 1, 0, 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def device(self, asked: torch.device) -> torch.device:
        """This process's device, where ``asked`` is what the options stand for.

        Raises:
            UserError: there are more processes than GPUs.
        """
        return asked

    def span(self, samples: int) -> slice:
        """This process's share of so many samples: contiguous, equal to within one, possibly empty."""
        return slice(samples * self.rank // self.size, samples * (self.rank + 1) // self.size)

    def part(self, batch: np.ndarray) -> np.ndarray:
        """What this process computes on of a batch. With fewer samples than processes it may be one that is not its
        own: then :meth:`share` is 0, and it counts for nothing."""
        own = batch[self.span(len(batch))]
        return own if len(own) else batch[:1]

    def share(self, samples: int) -> int:
        """Samples of a batch that are this process's own."""
        return len(range(samples)[self.span(samples)])

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors, on the run's device, by their sums over all processes."""

    def totals(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over all processes, in float64."""
        return dict(values)

    def most(self, value: int) -> int:
        """The largest value of any process."""
        return value

    def gather(self, value: T) -> list[T]:
        """Everyone's value, in the order of ranks."""
        return [value]

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, for all."""
        return make()

    def together(self, make: Callable[[], T]) -> T:
        """Let everyone make theirs; an error that one process's user can mend is everybody's.

        Raises:
            UserError: of the lowest rank that has one.
        """
        return make()

    def post(self, key: str, content: Any) -> None:
        """Leave plain data for :meth:`wait_for`."""

    def wait_for(self, key: str, seconds: float) -> Any:
        """What the first process posted; None if it ended without, or took too long."""

    def fail(self, error: UserError) -> None:
        """Let go of the other processes with an error that none of them can know of; the first one will say it."""

    def failure(self) -> str:
        """What another process said by :meth:`fail`; torchrun's SIGTERM may come before its going is noticed."""
        return ""

    def end(self, code: int) -> int:
        """Leave; the first process says that it is through, and others that failed wait until it is."""
        return code


class Torchrun(World):
    """One process of those that torchrun has started."""

    def __init__(self) -> None:
        from torch import distributed
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        self._dist = distributed
        self._patience = 25.0  # seconds for the first process to say what happened
        self.rank, self.size, self.local_rank, self.local_size = (
            int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        )
        self._store, _, _ = next(rendezvous("env://", self.rank, self.size, timeout=_TIMEOUT))
        nccl = torch.cuda.is_available() and distributed.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
        with self._peers():
            distributed.init_process_group(
                backend,
                store=PrefixStore("group", self._store),
                rank=self.rank,
                world_size=self.size,
                timeout=_TIMEOUT,
            )

    @contextmanager
    def _peers(self) -> Iterator[None]:
        """Around whatever needs the other processes: torch raises RuntimeErrors where one of them does not answer."""
        try:
            yield
        except RuntimeError as error:
            failure = self.failure()
            if failure:
                raise FailedElsewhere(failure) from error
            raise PeerLost(str(error)) from error

    def device(self, asked: torch.device) -> torch.device:
        if asked.type != "cuda":
            return asked
        if str(asked) != "cuda":
            raise UserError(f"trainer.device={asked} is one GPU for {self.size} processes", "Leave it at auto")
        found = torch.cuda.device_count()
        if self.local_size > found:
            raise UserError(
                f"{self.local_size} processes share a machine with {found} GPUs",
                f"Use --nproc-per-node {found}, or trainer.device=cpu",
            )
        return torch.device("cuda", self.local_rank)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        views = [_as_stored(tensor) for tensor in tensors]
        flat = torch.cat([view.reshape(-1) for view in views])
        with self._peers():
            self._dist.all_reduce(flat)
        for view, total in zip(views, flat.split([view.numel() for view in views]), strict=True):
            view.copy_(total.view_as(view))

    def totals(self, values: Mapping[str, float]) -> dict[str, float]:
        summed = torch.tensor(list(values.values()), dtype=torch.float64)
        with self._peers():
            self._dist.all_reduce(summed)
        return dict(zip(values, summed.tolist(), strict=True))

    def most(self, value: int) -> int:
        largest = torch.tensor(value)
        with self._peers():
            self._dist.all_reduce(largest, self._dist.ReduceOp.MAX)
        return int(largest)

    def gather(self, value: T) -> list[T]:
        gathered: list[Any] = [None] * self.size
        with self._peers():
            self._dist.all_gather_object(gathered, value)
        return gathered

    def from_first(self, make: Callable[[], T]) -> T:
        error: UserError | None = None
        made: list[Any] = [None, ""]
        if self.is_first:
            try:
                made = [make(), ""]
            except UserError as caught:
                error, made = caught, [None, str(caught)]
        with self._peers():
            self._dist.broadcast_object_list(made, src=0)
        if made[1]:
            raise error or ToldByFirst(made[1])
        result: T = made[0]
        return result

    def together(self, make: Callable[[], T]) -> T:
        error: UserError | None = None
        try:
            made = make()
        except UserError as caught:
            error = caught
        errors = [text for text in self.gather(str(error or "")) if text]
        if not errors:
            return made
        if not self.is_first:
            raise ToldByFirst(errors[0])
        raise error or UserError(errors[0])

    def post(self, key: str, content: Any) -> None:
        self._store.set(key, json.dumps(content))

    def wait_for(self, key: str, seconds: float) -> Any:
        until = time.monotonic() + seconds
        with suppress(RuntimeError):  # the store is gone, and all that could be waited for
            while time.monotonic() < until:
                for posted in (key, _ENDED):
                    if self._store.check([posted]):
                        return json.loads(self._store.get(posted)) if posted == key else None
                time.sleep(0.02)
        return None

    def fail(self, error: UserError) -> None:
        with suppress(RuntimeError):
            self.post(_FAILED, str(error))
        self._dist.destroy_process_group()
        self._patience = 1.0  # whoever waits for this process learns that it is gone once it has ended

    def failure(self) -> str:
        with suppress(RuntimeError):
            if self._store.check([_FAILED]):
                return str(json.loads(self._store.get(_FAILED)))
        return ""

    def end(self, code: int) -> int:
        if self.is_first:
            with suppress(RuntimeError):
                self.post(_ENDED, code)
        elif code:
            # torchrun ends all at the first that fails: the first process is to say what happened before that
            self.wait_for(_ENDED, self._patience)
        if not code:
            self._dist.destroy_process_group()
        return code


def join() -> World:
    """The processes that torchrun started together with this one, or this one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_WORLD_SIZE" in os.environ:
        return Torchrun()
    return World()


def _as_stored(tensor: Tensor) -> Tensor:
    """A view in the order in which it lies in memory, where that is its transpose."""
    return tensor.t() if tensor.dim() == 2 and tensor.t().is_contiguous() else tensor

"""Threads for the compiled loops: they take tasks from a counter, so which thread does what changes nothing.

They are Python threads on code that holds no lock, not OpenMP's: nothing spins while it waits, a forked data worker
inherits no half of a team, and kernels compile in a third of the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

_WORTHWHILE = 200_000  # work (about one unit a nanosecond) below which waking a thread costs more than it helps

_team: tuple[tuple[int, int], ThreadPoolExecutor] | None = None


def run(kernel: Callable[..., None], *args: Any, tasks: int, work: float, before: tuple[Any, ...] = ()) -> None:
    """Call ``kernel(*before, counter, *args)`` in as many threads as torch may use, until all tasks are taken."""
    counter = np.zeros(1, dtype=np.int64)
    helpers = min(torch.get_num_threads(), tasks) - 1 if work > _WORTHWHILE else 0
    if helpers <= 0:
        kernel(*before, counter, *args)
        return
    team = _helpers(helpers)
    futures = [team.submit(kernel, *before, counter, *args) for _ in range(helpers)]
    kernel(*before, counter, *args)
    for future in futures:
        future.result()


def _helpers(threads: int) -> ThreadPoolExecutor:
    global _team
    key = os.getpid(), threads  # a fork inherits the object but no threads
    if _team is None or _team[0] != key:
        _team = key, ThreadPoolExecutor(threads, thread_name_prefix="snnrun")
    return _team[1]

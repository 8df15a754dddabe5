"""What a network does on a split, measured by all processes of the run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import torch

from snnrun.data import Split, batches
from snnrun.distributed import World
from snnrun.losses import Loss
from snnrun.metrics import Metrics
from snnrun.snn import Network
from snnrun.step import loss_of


@torch.no_grad()
def evaluate(
    network: Network,
    loss: Loss,
    split: Split,
    batch_size: int,
    workers: int,
    device: torch.device,
    world: World,
    after_batch: Callable[[], None] = lambda: None,
) -> Metrics:
    """Accuracy and efficiency of a network on a split, from the full window; ``after_batch`` is called in between.

    Each process looks at its share; the metrics are of the whole, in all of them.
    """
    metrics = Metrics(loss.decision)
    network.eval()
    own = batches(split, batch_size, workers, np.arange(len(split))[world.span(len(split))])
    for _ in range(-(-world.most(world.share(len(split))) // batch_size)):
        for batch in islice(own, 1):  # none is left where others have one more
            spikes, targets = batch.to(device)
            trace = network(spikes)
            metrics.update(trace, targets.label, loss_of(trace, loss, targets).item())
        after_batch()
    whole = Metrics(loss.decision)
    whole.join(world.gather(metrics))
    return whole

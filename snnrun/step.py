"""One gradient: forward, loss, backward, and the method's hook on weight gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from snnrun.distributed import World
from snnrun.losses import Loss, Targets
from snnrun.methods import DenseActivity
from snnrun.snn import Dense, Events, Network, Trace

ALONE = World()


def loss_of(trace: Trace, loss: Loss, targets: Targets) -> Tensor:
    """The full loss of a batch: the loss on output spikes and the firing-rate penalty on hidden ones."""
    batch_size = trace.output.s.shape[1]
    return loss(trace.output, targets) + loss.rate_penalty([layer.total for layer in trace.hidden], batch_size)


def gradient_step(
    network: Network,
    loss: Loss,
    spikes: Tensor | Events,
    targets: Targets,
    world: World = ALONE,
    whole: int | None = None,
) -> tuple[Tensor, Trace]:
    """Add a batch's gradients to ``.grad`` of every parameter, not clipped.

    Args:
        spikes: input, as events or dense [T, B, *input shape].
        world: processes that have a part of the batch each; gradients must then be None or zero before.
        whole: samples of the batch in all of them; None: B.

    Returns:
        The loss of what is computed here (detached scalar), and the trace of the forward pass.
    """
    hook = network.neuron.method.has_weight_hook
    # how long a neuron has to be silent is decided by all samples, and a part must not end before the others
    ends_early = loss.needs_first_spikes_only and (world.size == 1 or not hook)
    trace = network(spikes, until_fired=ends_early)
    if ends_early and network.steps_needed is not None:
        network.steps_needed = world.most(network.steps_needed)  # one process's checkpoint holds it for all
    value = loss_of(trace, loss, targets)
    batch_size = trace.output.s.shape[1]
    share = world.share(whole or batch_size) / (whole or batch_size)
    (value * share).backward()  # losses are means over samples: a part's, by its share of them, adds up to the whole's
    activity = _activity(network, loss, trace, world, share) if hook else []
    summed = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    world.add_up([*summed, *(part for layer in activity for part in (layer.silent_share, layer.mean_spikes))])
    with torch.no_grad():
        for layer in activity:  # shown what all processes did, hence once, after the sum
            network.neuron.method.adjust_weight_gradient(layer)
    return value.detach(), trace


@torch.no_grad()
def _activity(network: Network, loss: Loss, trace: Trace, world: World, share: float) -> list[DenseActivity]:
    """What the method's hook is shown of every dense layer: this process's part of it, to be added up."""
    term = world.most(loss.term(trace.output.s))
    found = []
    for layer in trace.layers:
        if isinstance(layer.synapse, Dense):
            counts, silent = layer.counts(), layer.silent(term)  # [B, N]
            found.append(
                DenseActivity(
                    weight=layer.synapse.weight,
                    silent_share=silent.to(counts.dtype).mean(0) * share,
                    mean_spikes=counts.mean(0) * share,
                    rate_weight=0.0 if layer is trace.layers[-1] else loss.rate_weight,
                )
            )
    return found

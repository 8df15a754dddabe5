"""One gradient: forward, loss, backward, and the method's hook on weight gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from snnrun.losses import Loss, Targets
from snnrun.methods import DenseActivity
from snnrun.snn import Dense, Events, Network, Trace


def loss_of(trace: Trace, loss: Loss, targets: Targets) -> Tensor:
    """The full loss of a batch: the loss on output spikes and the firing-rate penalty on hidden ones."""
    batch_size = trace.output.s.shape[1]
    return loss(trace.output, targets) + loss.rate_penalty([layer.total for layer in trace.hidden], batch_size)


def gradient_step(network: Network, loss: Loss, spikes: Tensor | Events, targets: Targets) -> tuple[Tensor, Trace]:
    """Add this batch's gradients to ``.grad`` of every parameter, not clipped.

    Args:
        spikes: input, as events or dense [T, B, *input shape].

    Returns:
        The loss (detached scalar) and the trace of the forward pass.
    """
    trace = network(spikes, until_fired=loss.needs_first_spikes_only)
    value = loss_of(trace, loss, targets)
    value.backward()
    _weight_hook(network, loss, trace)
    return value.detach(), trace


@torch.no_grad()
def _weight_hook(network: Network, loss: Loss, trace: Trace) -> None:
    if not network.neuron.method.has_weight_hook:
        return
    term = loss.term(trace.output.s)
    for layer in trace.layers:
        if isinstance(layer.synapse, Dense):
            counts, silent = layer.counts(), layer.silent(term)  # [B, N]
            network.neuron.method.adjust_weight_gradient(
                DenseActivity(
                    weight=layer.synapse.weight,
                    silent_share=silent.to(counts.dtype).mean(0),
                    mean_spikes=counts.mean(0),
                    rate_weight=0.0 if layer is trace.layers[-1] else loss.rate_weight,
                )
            )

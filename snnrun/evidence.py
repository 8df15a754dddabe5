"""What a test leaves for plots and files beside averages: anytime curve, confusion, one sample's spikes."""

from __future__ import annotations

import torch

from snnrun.data import Split
from snnrun.metrics import Metrics, decide
from snnrun.observers.base import Evidence, Raster
from snnrun.snn import Events, Network


@torch.no_grad()
def collect(network: Network, split: Split, metrics: Metrics, decision: str, device: torch.device) -> Evidence:
    """Evidence for a tested split; its first sample gives the raster."""
    one = split.indices[:1]
    label, train = split.source.targets(one)
    spikes = split.source.spikes(one).to(device)
    trace = network(spikes)
    made = decide(trace.output.s)
    layers = [("input", spikes.dense() if isinstance(spikes, Events) else spikes)]
    layers += [(f"layer{index}", layer.spikes.s) for index, layer in enumerate(trace.layers)]
    raster = Raster(
        layers=[(name, s.flatten(2)[:, 0].bool().cpu().numpy()) for name, s in layers],
        label=None if label is None else int(label[0]),
        prediction=int(made.of(decision)[0]),
        decision_step=int(made.step[0]),
        target=None if train is None else train[:, 0].bool().numpy(),
    )
    return Evidence(metrics.curve(), metrics.confusion(), raster)

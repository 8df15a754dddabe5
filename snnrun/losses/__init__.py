"""Losses on output spikes. Importing this package registers them, in order of preference for a method."""

# isort: off
from snnrun.losses.count import Count
from snnrun.losses.latency import Latency
from snnrun.losses.spike_train import SpikeTrain
from snnrun.losses.base import Loss, Targets

__all__ = ["Count", "Latency", "Loss", "SpikeTrain", "Targets"]

"""The spiking engine: spikes and their two gradient channels, neuron, synapses, network."""

from snnrun.snn.architecture import LayerSpec, parse_layers
from snnrun.snn.layers import Dense, Synapse
from snnrun.snn.network import LayerTrace, Network, Trace
from snnrun.snn.neuron import Neuron
from snnrun.snn.spikes import Spikes, first_spike_time

__all__ = [
    "Dense",
    "LayerSpec",
    "LayerTrace",
    "Network",
    "Neuron",
    "Spikes",
    "Synapse",
    "Trace",
    "first_spike_time",
    "parse_layers",
]

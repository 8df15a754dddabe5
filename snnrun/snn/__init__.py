"""The spiking engine: spikes and their two gradient channels, neuron, synapses, network."""

from snnrun.snn.architecture import LayerSpec, parse_layers
from snnrun.snn.events import Events
from snnrun.snn.layers import Dense, Synapse
from snnrun.snn.network import Network
from snnrun.snn.neuron import Neuron
from snnrun.snn.spikes import Spikes, first_spike_time
from snnrun.snn.trace import LayerTrace, Trace, silent_shares, term

__all__ = [
    "Dense",
    "Events",
    "LayerSpec",
    "LayerTrace",
    "Network",
    "Neuron",
    "Spikes",
    "Synapse",
    "Trace",
    "first_spike_time",
    "parse_layers",
    "silent_shares",
    "term",
]

"""Data sets: one file each, codings, and the packed event store. Importing this package registers them."""

# isort: off
# in the order in which they are listed to users
from snnrun.data import digits, mnist, yinyang, nmnist, speech, dvsgesture, tonic_sets, spike_trains

# isort: on
from snnrun.data.dataset import Data, Dataset, Source, Split
from snnrun.data.loader import Batch, batches, shuffled
from snnrun.data.report import Quiet, Reporter

__all__ = [
    "Batch",
    "Data",
    "Dataset",
    "Quiet",
    "Reporter",
    "Source",
    "Split",
    "batches",
    "digits",
    "dvsgesture",
    "mnist",
    "nmnist",
    "shuffled",
    "speech",
    "spike_trains",
    "tonic_sets",
    "yinyang",
]

"""The linear yardstick on N-MNIST: ridge regression on event counts per saccade, on the folds that networks get.

    python scripts/ridge_baseline.py [dataset.root=DATA_ROOT ...]

The camera moves three times in each recording (Orchard et al. 2015), about 100 ms each; the features are the counts
of events per pixel, polarity and saccade, square roots of them (plain counts, logarithms and standardised ones do worse
here). It gets more than the networks do: it is fitted to training and validation set, and chooses its penalty by
leave-one-out. Overrides are options of snnrun's data set: ``dataset.split_seed=1`` deals other folds.
Exit code 2: missing or damaged data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import RidgeClassifierCV

from snnrun.composition import compose_node, to_plain
from snnrun.config import check
from snnrun.data import Data, Quiet, Split
from snnrun.data.augment import Augmented
from snnrun.data.events import EventSource
from snnrun.errors import UserError

_SACCADES_US = (105_000, 210_000)  # where one movement of the camera ends and the next begins
_PENALTIES = tuple(np.logspace(0, 5, 11))
FOLDS = range(5)


def counts_per_saccade(source: EventSource, indices: np.ndarray) -> np.ndarray:
    """Square roots of event counts, float32 [len(indices), 3 x inputs]; events at 210 ms and later are the third's."""
    addresses = int(np.prod(source.shape))
    features = np.zeros((len(indices), 3 * addresses), dtype=np.float32)
    for row, index in enumerate(indices):
        start, end = source.store.offsets[index], source.store.offsets[index + 1]
        saccade = np.searchsorted(_SACCADES_US, source.store.time_us[start:end], side="right")
        where = saccade * addresses + source.store.address[start:end].astype(np.int64)
        features[row] = np.bincount(where, minlength=3 * addresses)
    return np.sqrt(features)


def features_and_labels(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Features [samples, 3 x inputs] and classes [samples] of a part of the data."""
    source = split.source.source if isinstance(split.source, Augmented) else split.source
    assert isinstance(source, EventSource)
    return counts_per_saccade(source, split.indices), source.labels[split.indices]


def ridge_accuracy(data: Data) -> tuple[float, float]:
    """The penalty chosen by leave-one-out, and the share of right answers on the test set."""
    train, val, test = (features_and_labels(split) for split in (data.train, data.val, data.test))
    features, labels = (np.concatenate(both) for both in zip(train, val, strict=True))
    model = RidgeClassifierCV(alphas=_PENALTIES).fit(features, labels)
    return float(model.alpha_), float(model.score(*test))


def main(overrides: Sequence[str]) -> int:
    """Fit all five folds and print a table."""
    table = Table("fold", "fitted to", "tested on", "penalty", "test accuracy", box=None)
    accuracies = []
    try:
        for fold in FOLDS:
            config = check(to_plain(compose_node(["dataset=nmnist", f"dataset.fold={fold}", *overrides])))
            data = config.dataset.load(0, Quiet())
            penalty, accuracy = ridge_accuracy(data)
            sizes = str(len(data.train) + len(data.val)), str(len(data.test))
            table.add_row(str(fold), *sizes, f"{penalty:.3g}", f"{100 * accuracy:.2f} %")
            accuracies.append(accuracy)
    except UserError as error:
        print(f"ridge_baseline: error: {error}", file=sys.stderr)
        return 2
    console = Console(highlight=False)
    console.print(table)
    mean, deviation = np.mean(accuracies), np.std(accuracies, ddof=1)
    console.print(f"ridge on counts per saccade: {100 * mean:.2f} ± {100 * deviation:.2f} % over {len(FOLDS)} folds")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

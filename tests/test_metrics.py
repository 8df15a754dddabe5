"""Decisions and efficiency on spike trains small enough to count by hand."""

import pytest
import torch

from snnrun.metrics import Metrics, decide, higher_is_better, metric_keys, rank
from snnrun.snn import Spikes, Trace
from snnrun.snn.layers import Dense
from snnrun.snn.trace import DenseTrace

T = 5


def trains(*samples: dict[int, list[int]], neurons: int) -> torch.Tensor:
    """[T, B, neurons] from one {neuron: [steps]} per sample."""
    s = torch.zeros(T, len(samples), neurons)
    for b, sample in enumerate(samples):
        for neuron, steps in sample.items():
            s[steps, b, neuron] = 1
    return s


HIDDEN = trains({0: [0, 3], 1: [2]}, {1: [0, 1, 2, 3, 4]}, {}, neurons=2)
OUTPUT = trains({0: [2], 1: [3, 4]}, {0: [1], 2: [1]}, {}, neurons=3)
INPUT = trains({0: [0], 1: [0, 1]}, {3: [4]}, {}, neurons=4)
LABEL = torch.tensor([1, 0, 2])


def trace() -> Trace:
    return part_of(slice(None))


def part_of(part: slice) -> Trace:
    inputs, hidden, output = (x[:, part] for x in (INPUT, HIDDEN, OUTPUT))
    layers = (DenseTrace(Dense(4, 2), inputs, Spikes(hidden)), DenseTrace(Dense(2, 3), hidden, Spikes(output)))
    return Trace(layers, Spikes(output), T)


def measured(decision: str) -> Metrics:
    metrics = Metrics(decision)
    for part in (slice(0, 2), slice(2, 3)):  # two uneven batches
        metrics.update(part_of(part), LABEL[part], 1.5)
    return metrics


def test_decisions_and_ties() -> None:
    made = decide(OUTPUT)
    assert made.by_count.tolist() == [1, 0, -1]  # a tie in sample 1 goes to the lowest index
    assert made.by_first.tolist() == [0, 0, -1]
    assert made.step.tolist() == [2, 1, T]


def test_every_key_by_hand() -> None:
    result = measured("count").result()
    assert result == pytest.approx(
        {
            "loss": 1.5,
            "acc": 2 / 3,
            "acc_count": 2 / 3,
            "acc_first": 1 / 3,
            "undecided": 1 / 3,
            "latency": (2 + 1 + T) / 3,
            "spikes": (3 + 3 + 5 + 2 + 0) / 3,
            "spikes/layer0": 8 / 3,
            "spikes/layer1": 5 / 3,
            # sample 0 decides at step 2: hidden 2, output 1; sample 1 at step 1: hidden 2, output 2
            "spikes_to_decision": (3 + 4 + 0) / 3,
            "spikes_to_decision/layer0": 4 / 3,
            "spikes_to_decision/layer1": 3 / 3,
            "synops": (3 * 2 + 3 * 3 + 1 * 2 + 5 * 3) / 3,
            "spikes_per_correct": 13 / 2,
        }
    )
    assert set(result) == set(metric_keys(2))


def test_accuracy_is_that_of_the_losss_own_decision() -> None:
    assert measured("first").result()["acc"] == pytest.approx(1 / 3)
    assert measured("first").result()["spikes_per_correct"] == pytest.approx(13)


def test_undecided_counts_as_wrong_even_for_class_zero() -> None:
    metrics = Metrics("count")
    silent = torch.zeros(T, 1, 3)
    layer = DenseTrace(Dense(3, 3), silent, Spikes(silent))
    metrics.update(Trace((layer,), layer.spikes, T), torch.tensor([0]), 0.0)
    result = metrics.result()
    assert (result["acc"], result["undecided"], result["latency"]) == (0, 1, T)
    assert result["spikes_per_correct"] is None


def test_rates_and_silent_neurons() -> None:
    metrics = measured("count")
    assert metrics.rates() == pytest.approx([8 / 3 / 2, 5 / 3 / 3])
    assert metrics.silent() == pytest.approx([0, 0])


def test_anytime_curve() -> None:
    count, first = measured("count").curve(), measured("first").curve()
    assert count["step"] == [0, 1, 2, 3, 4]
    assert count["decided"] == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 2 / 3])
    # sample 0: neuron 0 leads at step 2, ties at step 3 (lowest index), neuron 1 leads at step 4
    assert count["acc"] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 2 / 3])
    assert first["acc"] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert count["spikes"] == pytest.approx([2 / 3, 5 / 3, 8 / 3, 11 / 3, 13 / 3])
    assert count["spikes"][-1] == pytest.approx(13 / 3)


def test_the_curve_ends_at_the_accuracy() -> None:
    for decision in ("count", "first"):
        metrics = measured(decision)
        assert metrics.curve()["acc"][-1] == pytest.approx(metrics.result()["acc"])


def test_confusion_has_a_column_for_undecided() -> None:
    confusion = measured("count").confusion()
    assert confusion is not None
    assert confusion.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def test_without_labels_accuracies_are_null() -> None:
    metrics = Metrics("count")
    metrics.update(trace(), None, 2.0)
    result = metrics.result()
    assert [result[key] for key in ("acc", "acc_count", "acc_first", "spikes_per_correct")] == [None] * 4
    assert metrics.confusion() is None
    assert metrics.curve()["acc"] is None


def test_directions() -> None:
    assert higher_is_better("val/acc_first")
    assert not higher_is_better("val/loss")
    assert not higher_is_better("val/spikes_to_decision/layer0")


def test_the_best_epoch_has_the_best_metric_and_among_equals_the_lower_loss() -> None:
    rows = [
        {"val/acc": 0.9, "val/loss": 0.5},
        {"val/acc": 0.9, "val/loss": 0.3},
        {"val/acc": 0.8, "val/loss": 0.1},
        {"val/acc": None, "val/loss": 0.0},
        {"val/acc": float("nan"), "val/loss": 0.0},
    ]
    assert max(rows, key=lambda row: rank(row, "val/acc")) is rows[1]
    assert max(rows[:3], key=lambda row: rank(row, "val/loss")) is rows[2]

"""Comparisons: how runs are grouped."""

from pathlib import Path

import pytest
from comparisons import labels, text, three_methods
from made_up_runs import add_overrides, make_run

from snnrun.compare.report import compare
from snnrun.errors import UserError


def test_a_run_made_twice_counts_once(tmp_path: Path) -> None:
    make_run(tmp_path / "new", "hybrid", 0, 0.9, started="2026-11-24T12:00:00+00:00")
    make_run(tmp_path / "old", "hybrid", 0, 0.1, started="2026-11-24T11:00:00+00:00", threads=16)
    other = {"trainer.threads": 16, "logger.name": "wandb", "dataset.root": "/elsewhere", "experiment_name": "again"}
    make_run(tmp_path / "older", "hybrid", 0, 0.2, started="2026-11-23T11:00:00+00:00", config=other)
    comparison = compare([tmp_path])
    (row,) = comparison.tables[0].rows
    assert row.n == 1
    assert row.estimates["acc"] is not None
    assert row.estimates["acc"].mean == 0.9
    (note,) = comparison.notes
    assert note.startswith("2 runs made again later with the same options and seed")


def test_method_and_data_set_by_default(tmp_path: Path) -> None:
    three_methods(tmp_path / "digits")
    three_methods(tmp_path / "yinyang", dataset="yinyang")
    comparison = compare([tmp_path])
    assert [table.block.dataset for table in comparison.tables] == ["digits", "yinyang"]
    assert labels(comparison) == 2 * ["activation", "timing", "hybrid"]
    for table in comparison.tables:  # each is compared with the one of its own data set
        assert {row.baseline for row in table.rows} == {table.rows[0].group}
        assert table.rows[0].differences == {}


def test_the_loss_where_it_differs(tmp_path: Path) -> None:
    for seed in range(2):
        for loss in ("count", "spike_train"):
            make_run(tmp_path / f"a{loss}{seed}", "activation", seed, loss=loss)
            make_run(tmp_path / f"h{loss}{seed}", "hybrid", seed, loss=loss)
    comparison = compare([tmp_path])
    assert labels(comparison) == ["activation count", "activation spike_train", "hybrid count", "hybrid spike_train"]
    # the baseline of hybrid with a loss is activation with that loss
    baselines = {row.group.label: row.baseline.label for row in comparison.tables[0].rows if row.baseline}
    assert baselines["hybrid spike_train"] == "activation spike_train"
    assert baselines["hybrid count"] == "activation count"


def test_a_sweep_is_grouped_by_what_it_varied(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep_2026"
    for job, (lr, seed) in enumerate((lr, seed) for lr in (0.001, 0.01) for seed in range(3)):
        folder = make_run(sweep / str(job), "hybrid", seed, 0.9 + lr + seed / 1000, config={"optimizer.lr": lr})
        add_overrides(folder, "method=hybrid", f"optimizer.lr={lr}", f"seed={seed}", "trainer.epochs=5")
    comparison = compare([sweep])
    assert labels(comparison) == ["lr=0.001", "lr=0.01"]
    assert comparison.tables[0].rows[1].baseline is comparison.tables[0].rows[0].group
    assert comparison.tables[0].block.unit == "seed"
    assert "hybrid, digits: test" in text(comparison)


def test_folds_are_averaged_over_and_paired_without_a_warning(tmp_path: Path) -> None:
    for method, gain in (("activation", 0.0), ("hybrid", 0.02)):
        for fold, acc in enumerate((0.90, 0.95, 0.92, 0.93, 0.94)):
            data = {"n_train": 100, "n_val": 10, "n_test": 50, "split_seed": 0, "hash": f"fold{fold}"}
            config = {"dataset.fold": fold}
            folder = make_run(
                tmp_path / "sweep_1" / f"{method}{fold}", method, acc=acc + gain, config=config, data=data
            )
            add_overrides(folder, f"method={method}", f"dataset.fold={fold}")
    (table,) = compare([tmp_path]).tables
    assert [row.group.label for row in table.rows] == ["activation", "hybrid"]
    assert table.block.unit == "fold"
    gap = table.rows[1].differences["acc"]
    assert gap is not None
    assert gap.paired
    assert gap.mean == pytest.approx(0.02)
    assert not [text for text in table.warnings if "fold" in text or "data" in text]


def test_a_sweep_over_splits_is_one_group_of_runs(tmp_path: Path) -> None:
    for split in range(3):
        for method in ("activation", "hybrid"):
            folder = make_run(tmp_path / "sweep_1" / f"{method}{split}", method, config={"dataset.split_seed": split})
            add_overrides(folder, f"method={method}", f"dataset.split_seed={split}")
    (table,) = compare([tmp_path]).tables
    assert [row.n for row in table.rows] == [3, 3]
    assert table.block.unit == "run"
    assert all(row.differences["acc"].paired for row in table.rows if row.differences)  # type: ignore[union-attr]
    assert any("all groups: runs of different data splits (dataset.split_seed 0, 1, 2)" in w for w in table.warnings)


def test_any_option_to_group_by(tmp_path: Path) -> None:
    three_methods(tmp_path)
    assert labels(compare([tmp_path], ["loss"])) == ["count", "latency"]
    assert labels(compare([tmp_path], ["method", "T"])) == ["activation", "timing", "hybrid"]
    assert len(labels(compare([tmp_path], ["optimizer.lr"]))) == 1
    assert len(labels(compare([tmp_path], ["method", "seed"]))) == 9
    with pytest.raises(UserError, match=r"no run has the option optimizer\.lrr\. Did you mean optimizer\.lr\?"):
        compare([tmp_path], ["optimizer.lrr"])


def test_baselines(tmp_path: Path) -> None:
    three_methods(tmp_path)
    for asked in ("timing", "method=timing"):
        (table,) = compare([tmp_path], baseline=asked).tables
        assert [row.baseline.label for row in table.rows if row.baseline] == ["timing"] * 3
    with pytest.raises(UserError, match=r"no group is the baseline 'tming'\. Groups: activation, timing, hybrid"):
        compare([tmp_path], baseline="tming")


def test_without_labels_the_loss_counts(tmp_path: Path) -> None:
    for seed in range(3):
        for method in ("activation", "hybrid"):
            make_run(tmp_path / f"{method}{seed}", method, seed, acc=None, loss="spike_train")
    (table,) = compare([tmp_path]).tables
    assert table.metrics[0].key == "loss"
    assert "hybrid test loss 0.4000 ± 0.0000, +0.0000 [0.0000, 0.0000] against activation" in text(compare([tmp_path]))


def test_values_of_different_losses_have_no_common_scale(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / f"a{seed}", "activation", seed, acc=None)
        make_run(tmp_path / f"h{seed}", "hybrid", seed, acc=None)
    (table,) = compare([tmp_path]).tables
    assert [row.differences.get("loss") for row in table.rows] == [None, None]
    assert not any("loss" in row.best for row in table.rows)

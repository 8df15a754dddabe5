"""What the console shows, on terminals of two widths and on a pipe."""

import io
import re
from pathlib import Path

import fakes
import pytest
from rich.cells import cell_len
from rich.console import Console

from snnrun.observers import ConsoleObserver
from snnrun.observers.base import LayerInfo, Outcome, RunInfo

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
RUN_DIR = Path("outputs/default/2026-11-24_02-40-56-123456_hybrid_digits_s0")
CLOSING = f"wandb sync {RUN_DIR}/wandb/offline-run-20261124_024431-cd5i4sht"


def shown(width: int, terminal: bool, run: RunInfo | None = None, outcome: Outcome | None = None) -> str:
    """All that a run writes."""
    run = run or fakes.run_info(RUN_DIR)
    outcome = outcome or fakes.outcome(run)
    file = io.StringIO()
    console = ConsoleObserver(Console(file=file, width=width, force_terminal=terminal, legacy_windows=False))
    console.note("using [these] recordings")
    with console.progress("downloading train.zip", 2_000_000, "B") as advance:
        advance(1_000_000)
    console.start(run)
    for row in outcome.rows:
        console.step(fakes.progress(int(row["step"] or 1)))
        console.row(row)
    outcome.closing.append(CLOSING)
    console.finish(outcome)
    return file.getvalue()


def lines(text: str) -> list[str]:
    """Lines as a terminal shows them; what a carriage return lets overwrite counts as a line too."""
    return [line for line in re.split(r"[\r\n]", CONTROL.sub("", text)) if line.strip()]


@pytest.mark.parametrize("width", [80, 140])
def test_a_terminal_line_never_exceeds_the_width(width: int) -> None:
    for line in lines(shown(width, terminal=True)):
        copied = line == CLOSING or line.startswith("files ")  # commands and paths stay whole
        assert copied or cell_len(line.rstrip()) <= width, line


@pytest.mark.parametrize("width", [80, 140])
def test_a_terminal_shows_live_progress_and_marks_the_best(width: int) -> None:
    text = shown(width, terminal=True)
    assert "epoch 1/5  loss 1.200  acc 50.0%  120 spikes" in text
    assert sum(line.rstrip().endswith("★") for line in lines(text)) == 4  # accuracy peaks in epoch 4
    assert "best    epoch 4 of 5, val/acc 82.1%" in text


def test_a_pipe_gets_plain_whole_lines() -> None:
    text = shown(40, terminal=False)
    assert text.isascii()
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)
    assert all(line == line.rstrip() for line in text.split("\n"))
    assert "downloading train.zip (2.0 MB) ..." in text
    assert "using [these] recordings" in text
    assert CLOSING in text.splitlines()
    assert "digits: 1,017 train, 113 validation, 667 test" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_every_efficiency_key_is_in_the_final_table(terminal: bool) -> None:
    names = {line.split()[0] for line in lines(shown(80, terminal))}
    plain = {key for key in fakes.metrics() if "/" not in key}
    assert plain <= names


@pytest.mark.parametrize("terminal", [True, False])
def test_epoch_lines_line_up_with_their_header(terminal: bool) -> None:
    shown_lines = lines(shown(80, terminal))
    header = next(line for line in shown_lines if line.lstrip().startswith("epoch "))
    first = next(line for line in shown_lines if line.startswith("    1 "))
    columns = ["epoch", "loss", "acc", "acc", "spikes", "to decision", "latency", "lr", "s"]
    at = 0
    for name in columns:
        at = header.index(name, at) + len(name)
        assert first[at - 1].isdigit() or first[at - 1] == "%", f"{name}: {first}"


def test_data_without_labels_shows_dashes_and_its_monitor() -> None:
    run = fakes.run_info(RUN_DIR, monitor="val/loss")
    text = shown(80, True, run, fakes.outcome(run, labelled=False))
    first = next(line for line in lines(text) if line.startswith("    1 "))
    assert first.split()[2:4] == ["-", "-"]
    assert "acc -" not in text
    assert any(line.split()[:2] == ["acc", "-"] for line in lines(text))
    assert next(line for line in lines(text) if line.lstrip().startswith("epoch ")).split().count("loss") == 2


def test_silent_layers_are_pointed_out_with_a_way_out() -> None:
    silent = (fakes.LAYERS[0], LayerInfo("fc10", (10,), 1290, 0.01, 0.95))
    text = shown(140, False, fakes.run_info(RUN_DIR, layers=silent))
    (line,) = [line for line in text.splitlines() if "model.init=calibrate" in line]
    assert "layer1 95%" in line
    assert "layer0" not in line
    assert "model.shift=0.05" in line
    assert "model.init" not in shown(140, False)


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_run_that_ends_early_says_so_without_a_table(status: str) -> None:
    run = fakes.run_info(RUN_DIR)
    text = shown(80, True, run, fakes.outcome(run, status, epochs=3))
    assert f"run {status} in epoch 3 of 5" in CONTROL.sub("", text)
    assert "spikes_per_correct" not in text


def test_a_run_that_fails_before_its_first_epoch() -> None:
    run = fakes.run_info(RUN_DIR)
    text = shown(80, True, run, fakes.outcome(run, "failed", epochs=0))
    assert "run failed: stopped by signal 2" in text


def test_an_evaluation_shows_no_epochs() -> None:
    run = fakes.run_info(RUN_DIR, mode="test")
    outcome = fakes.outcome(run)
    outcome.rows = outcome.rows[-1:]
    text = shown(80, False, run, outcome)
    assert "to decision  latency" not in text
    assert "spikes_per_correct" in text


def test_the_live_bar_leaves_the_cursor_visible() -> None:
    text = shown(80, terminal=True)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")

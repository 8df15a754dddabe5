"""What is composed, as the console shows it before the first step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from snnrun.observers.base import LayerInfo, RunInfo


def of_run(run: RunInfo) -> Table:
    """Method, loss, data, network, machine and folder, one line each."""
    table = Table(box=None, pad_edge=False, show_header=False, expand=False)
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(overflow="fold")
    why = f" (auto: {run.loss_why})" if run.loss_why else ""
    data = run.data
    counts = f"{data['n_train']:,} train, {data['n_val']:,} validation, {data['n_test']:,} test"
    table.add_row("method", _method(run))
    table.add_row("loss", Text(f"{run.loss}{why}"))
    table.add_row("data", Text(f"{run.dataset}: {counts}; {_shape(run.input_shape)} inputs, {run.T} steps"))
    table.add_row("network", Text(f"{run.model}, {run.params:,} parameters"))
    table.add_row(
        "", Text(f"{'':<7} {'':<9} {'shape':<10} {'parameters':>10} {'spikes/neuron':>14} {'silent':>7}", "dim")
    )
    for name, layer in _named_layers(run):
        table.add_row("", Text(_layer(name, layer)))
    processes = f"{run.processes} processes, each with " if run.processes > 1 else ""
    device = "cuda" if run.processes > 1 and run.device.startswith("cuda") else run.device
    table.add_row("machine", Text(f"{device}, {run.kernel} kernel, {processes}{run.threads} threads; seed {run.seed}"))
    table.add_row("folder", Text(short_path(run.run_dir)))
    return table


def spiking_layers(run: RunInfo) -> Iterator[tuple[str, LayerInfo]]:
    """Spiking layers with the names that metrics use."""
    return ((name, layer) for name, layer in _named_layers(run) if name)


def short_path(path: Path | str) -> str:
    """Relative to the current folder where that is shorter."""
    relative = os.path.relpath(path)
    return min(relative, str(path), key=len)


def _named_layers(run: RunInfo) -> Iterator[tuple[str, LayerInfo]]:
    index = 0
    for layer in run.layers:
        if layer.rate is None:
            yield "", layer
        else:
            yield f"layer{index}", layer
            index += 1


def _method(run: RunInfo) -> Text:
    options = {key: value for key, value in run.config["method"].items() if key != "name"}
    described = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in options.items()
    )
    return Text(run.method + (f" ({described})" if described else ""))


def _layer(name: str, layer: LayerInfo) -> str:
    line = f"{name:<7} {layer.token:<9} {_shape(layer.out_shape):<10}"
    if layer.rate is None or layer.silent is None:
        return line.rstrip()
    return f"{line} {layer.params:>10,} {layer.rate:>14.2f} {layer.silent:>7.0%}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

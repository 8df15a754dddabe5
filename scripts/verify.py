"""Hold our gradients to reference cases computed by the published program of the ANTLR paper.

    python scripts/verify.py tests/golden/*.npz [--tol 1e-4] [--kernel reference]

Each case is one .npz with inputs, weights, and the output spikes, loss and unclipped gradients that belong to them.
Relative errors are max|ours - theirs| / max|theirs| over a tensor. Exit code 0: all within tolerance; 1: some case
exceeds it or spikes differ; 2: a file is not such a case.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from snnrun import registry
from snnrun.errors import UserError
from snnrun.kernels import KERNELS, NeuronConstants, load
from snnrun.losses import Targets
from snnrun.snn import Network, Neuron, Trace, first_spike_time, parse_layers
from snnrun.step import gradient_step

_MOST_BYTES = 256 << 20
_DAMAGED = (
    *(OSError, EOFError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError),
    *(NotImplementedError, RuntimeError, SyntaxError, struct.error, zlib.error, zipfile.BadZipFile),
)


class NotACase(Exception):
    """The file does not hold a reference case; says why."""


class Result(NamedTuple):
    """How far one case is from its reference."""

    meta: dict[str, Any]
    spike_mismatches: int
    loss_error: float
    gradient_error: float

    def passes(self, tolerance: float) -> bool:
        return self.spike_mismatches == 0 and self.loss_error <= tolerance and self.gradient_error <= tolerance


def _refuse_bomb(path: Path) -> None:
    """Look at the sizes first: some bytes can stand for terabytes, and a pipe is waited for for ever."""
    if not path.is_file():
        raise NotACase("missing" if not path.exists() else "not a file")
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
            raise NotACase(f"it unpacks to more than {_MOST_BYTES >> 20} MB")


def load_case(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a case's description and arrays; nothing in the file is executed."""
    try:
        _refuse_bomb(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")[()]))
        if not isinstance(meta, dict):
            raise NotACase("meta is not a JSON object")
        return meta, arrays
    except ValueError as error:  # numpy's text advises to load pickles
        raise NotACase("no .npz of plain arrays" if "pickle" in str(error) else str(error)) from error
    except _DAMAGED as error:
        raise NotACase(f"{type(error).__name__}: {error}") from error


def check_complete(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Hold the arrays to the description, so that nothing is compared by halves.

    Raises:
        NotACase: something is missing, superfluous, or of another shape.
    """
    layers = sum(str(token).startswith(("fc", "conv")) for token in meta["layers"])
    per_layer = {f"{name}{index}" for index in range(layers) for name in ("w", "b", "gw", "gb", "spikes")}
    needed = per_layer | {"input", "output", "loss", "term", "spikes_total", "spikes_until_decision"}
    needed |= {"target"} if meta["loss"] == "spike_train" else {"label"}
    missing = needed - arrays.keys()
    superfluous = {name for name in arrays.keys() - needed if re.fullmatch(r"(w|b|gw|gb|spikes)\d+", name)}
    if missing or superfluous:
        raise NotACase(f"missing: {sorted(missing)}, not of this network: {sorted(superfluous)}")
    T, batch_size, term = meta["T"], meta["B"], int(arrays["term"])
    outputs = int(str(meta["layers"][-1]).removeprefix("fc"))
    if not (1 <= term <= T and (term == T or meta["loss"] == "latency")):
        raise NotACase(f"term is {term} of {T} steps; only a latency run ends early")
    shapes = {
        "input": (batch_size, T, *arrays["input"].shape[2:]),
        "output": (batch_size, term, outputs),
        "label": (batch_size,),
        "target": (batch_size, T, outputs),
        "spikes_total": (layers,),
        "spikes_until_decision": (layers,),
        "loss": (),
    }
    shapes |= {f"gw{index}": arrays[f"w{index}"].shape for index in range(layers)}
    shapes |= {f"gb{index}": arrays[f"b{index}"].shape for index in range(layers)}
    for name, shape in shapes.items():
        if name in arrays and arrays[name].shape != shape:
            raise NotACase(f"{name} has the shape {arrays[name].shape}, not {shape}")


def build(meta: dict[str, Any], arrays: dict[str, np.ndarray], kernel: str) -> tuple[Network, Any, torch.Tensor]:
    """The network, the loss and the input spikes [T, B, ...] of a case."""
    method_parameters = {
        "activation": ("surrogate_scale", "surrogate_sharpness"),
        "timing": (),
        "hybrid": ("surrogate_scale", "surrogate_sharpness"),
    }[meta["method"]]
    parameters = {name: meta[name] for name in method_parameters}
    if meta["method"] == "timing":
        parameters["penalty"] = meta["timing_penalty"]
    method = registry.component("method", meta["method"])(**parameters)
    loss_parameters = {
        "count": {"true_count": "count_true", "false_count": "count_false"},
        "latency": {"beta": "softmax_beta", "lambda_nospike": "lambda_nospike"},
        "spike_train": {"alpha": "kernel_alpha", "extension": "extend"},
    }[meta["loss"]]
    loss = registry.component("loss", meta["loss"])(**{ours: meta[theirs] for ours, theirs in loss_parameters.items()})

    spikes = torch.from_numpy(arrays["input"]).float().transpose(0, 1).contiguous()
    classes = int(meta["layers"][-1].removeprefix("fc"))
    specs = parse_layers(meta["layers"], tuple(spikes.shape[2:]), classes)
    for index, spec in enumerate(spec for spec in specs if spec.kind in ("dense", "conv")):
        weights = math.prod(spec.in_shape) if spec.kind == "dense" else spec.in_shape[0] * spec.kernel**2
        if arrays[f"w{index}"].size != weights * spec.out_shape[0]:
            raise NotACase(f"w{index} is not of the layer {spec.token}")
    constants = NeuronConstants(meta["alpha_i"], meta["alpha_v"], 1.0, meta["beta_v"], meta["beta_bias"])
    network = Network(specs, Neuron(constants, method, load(kernel)))
    with torch.no_grad():
        for index, synapse in enumerate(network.synapses):
            synapse.weight.copy_(torch.from_numpy(arrays[f"w{index}"]))
            synapse.bias.copy_(torch.from_numpy(arrays[f"b{index}"]))
    return network, loss, spikes


def verify(path: Path, kernel: str = "reference") -> Result:
    """Run one case.

    Raises:
        NotACase: the file cannot be read as a case.
    """
    meta, arrays = load_case(path)
    try:
        check_complete(meta, arrays)
        network, loss, spikes = build(meta, arrays, kernel)
        label = torch.from_numpy(arrays["label"]).long() if "label" in arrays else None
        train = None
        if "target" in arrays:
            train = torch.from_numpy(arrays["target"]).float().transpose(0, 1)
        value, trace = gradient_step(network, loss, spikes, Targets(label, train))
        gradient_error = max(
            relative_error(parameter.grad, arrays[f"g{letter}{index}"])
            for index, synapse in enumerate(network.synapses)
            for letter, parameter in (("w", synapse.weight), ("b", synapse.bias))
        )
        loss_error = relative_error(value, arrays["loss"])
        term = loss.term(trace.output.s) if meta["loss"] == "latency" else meta["T"]
        mismatches = spike_mismatches(trace, arrays) + abs(term - int(arrays["term"]))
        return Result(meta, mismatches, loss_error, gradient_error)
    except (*_DAMAGED, ValueError, IndexError, ArithmeticError, AssertionError, UserError) as error:
        raise NotACase(f"{type(error).__name__}: {error}") from error


def spike_mismatches(trace: Trace, arrays: dict[str, np.ndarray]) -> int:
    """Output spikes that differ, plus differences in every layer's counts, within the steps the reference ran."""
    term = int(arrays["term"])
    output = trace.output.s.detach()
    theirs = torch.from_numpy(arrays["output"]).float().transpose(0, 1)
    wrong = int((output[:term] != theirs).sum())
    decision = first_spike_time(output.flatten(2).amax(2))  # [B]; T where undecided
    for index, layer in enumerate(trace.layers):
        per_step = layer.spikes.s.detach().flatten(2).sum(2)[:term]
        until = per_step[torch.arange(term)[:, None] <= decision[None]].sum()
        for reference in (arrays["spikes_total"][index], arrays[f"spikes{index}"]):
            wrong += abs(int(per_step.sum()) - int(reference))
        wrong += abs(int(until) - int(arrays["spikes_until_decision"][index]))
    return wrong


def relative_error(ours: torch.Tensor | None, theirs: np.ndarray) -> float:
    """max|ours - theirs| / max|theirs|; infinite where either is missing or not finite."""
    reference = torch.from_numpy(np.asarray(theirs)).double()
    if ours is None or not (torch.isfinite(ours).all() and torch.isfinite(reference).all()):
        return float("inf")
    difference = (ours.double() - reference).abs().max().item()
    scale = reference.abs().max().item()
    return difference / scale if scale > 0 else (0.0 if difference == 0 else float("inf"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="reference cases (.npz)")
    parser.add_argument("--tol", type=float, default=1e-4, help="largest relative error allowed (default 1e-4)")
    parser.add_argument("--kernel", choices=sorted(KERNELS), default="reference")
    options = parser.parse_args()

    columns = ("file", "method", "loss", "layers", "spikes off", "loss err", "grad err", "")
    table = Table(*columns, box=None, pad_edge=False)
    failed, largest, unreadable = 0, 0.0, []
    for path in options.files:
        try:
            result = verify(path, options.kernel)
        except NotACase as error:
            unreadable.append(f"verify: error: {path} is not a reference case ({' '.join(str(error).split())[:200]})")
            continue
        passed = result.passes(options.tol)
        failed += not passed
        largest = max(largest, result.loss_error, result.gradient_error)
        table.add_row(
            escape(path.name),
            result.meta["method"],
            result.meta["loss"],
            "-".join(result.meta["layers"]),
            str(result.spike_mismatches),
            f"{result.loss_error:.1e}",
            f"{result.gradient_error:.1e}",
            "ok" if passed else "FAIL",
        )
    if table.row_count:
        console = Console()
        console = console if console.is_terminal else Console(width=200)
        console.print(table)
        within = f"{table.row_count - failed} of {table.row_count} cases within {options.tol:g}"
        print(f"{within}, largest relative error {largest:.1e} ({options.kernel} kernel)")
    for line in unreadable:
        print(line, file=sys.stderr)
    return 2 if unreadable else int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

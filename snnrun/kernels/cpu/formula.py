"""A method's element-wise torch formula, compiled: it is run once on sample values, and the operations it called are
written down as a loop over lanes.

The source lies in the cache folder, with the formula's constants left open, so that numba compiles it once for all
values of a method's options and for all processes.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnrun.cache import cache_root, is_private
from snnrun.kernels.constants import MIN_SLOPE, NeuronConstants
from snnrun.kernels.cpu.recorder import CannotCompile, Recorder
from snnrun.kernels.cpu.rows import DEP, GS, GT, ROWS, WIDTHS
from snnrun.kernels.cpu.source import module_source
from snnrun.kernels.reference import Formula

_SAMPLES = 512
_TOLERANCE = 1e-5


class CompiledFormula(NamedTuple):
    """A formula, fused with the reverse recurrences, as C functions on rows of a block.

    Attributes:
        params: its constants, float32.
        zero_to_zero: without gradients from above it gives none.
        functions: (kind, width) to numba C function, see :mod:`snnrun.kernels.cpu.source`.
    """

    params: np.ndarray
    zero_to_zero: bool
    functions: Callable[[str, int], Any]

    def addresses(self, width: int, with_timing: bool) -> np.ndarray:
        """Of the functions for quiet and for spiking rows of this width, with e1 and e2 or without, int64 [2]."""
        suffix = "_timing" if with_timing else ""
        return np.array([self.functions(kind + suffix, width).address for kind in ("quiet", "spiking")], np.int64)

    def constants(self, c: NeuronConstants) -> np.ndarray:
        """What the functions take beside rows: the neuron's constants, then the formula's; float32."""
        beta = c.beta_i * c.beta_v
        return np.array([c.alpha_v, c.alpha_i, beta, beta * c.alpha_i, *self.params], np.float32)


def compile_formula(formula: Formula) -> CompiledFormula:
    """Compile a formula, or find it compiled.

    Raises:
        CannotCompile: an operation has no compiled form, or the formula is not element-wise.
    """
    inputs = _sample_inputs()
    recorder = Recorder(inputs)
    with recorder, torch.no_grad():
        result = formula(*inputs)
    lines, quiet = recorder.lines, recorder.quiet_lines
    source = module_source(lines, quiet, recorder.name(result), len(recorder.params))
    params = np.array(recorder.params, dtype=np.float32)
    compiled = CompiledFormula(params, _zero_to_zero(formula), _load(source).function)
    _hold_to_torch(formula, compiled)
    return compiled


def _sample_inputs() -> list[Tensor]:
    """gs, gt, v, s, slope of plausible values, potentials below, at and above the threshold."""
    generator = torch.Generator().manual_seed(0)
    gs, gt = torch.randn(2, _SAMPLES, generator=generator)
    v = torch.randn(_SAMPLES, generator=generator) * 1.5 + 0.5
    v[:4] = torch.tensor([1.0, 0.0, -40.0, 40.0])
    before = torch.randn(_SAMPLES, generator=generator).clamp(max=0.99)
    return [gs, gt, v, (v >= 1).float(), (v - before).clamp(min=MIN_SLOPE)]


def _zero_to_zero(formula: Formula) -> bool:
    gs, _, v, s, slope = _sample_inputs()
    zero = torch.zeros_like(gs)
    return bool((formula(zero, zero.clone(), v, s, slope) == 0).all())


def _hold_to_torch(formula: Formula, compiled: CompiledFormula) -> None:
    """In quiet and in spiking rows the compiled g must be torch's."""
    constants = compiled.constants(NeuronConstants(0.0, 0.0, 1.0, 0.0, 0.0))  # without memory, dep is g
    gs, gt, v, s, slope = _sample_inputs()
    generator = torch.Generator().manual_seed(0)
    for kind in ("quiet", "spiking"):
        rows = np.zeros((ROWS, WIDTHS[0]), np.float32)
        for _ in range(_SAMPLES // WIDTHS[0]):
            drawn = torch.randperm(_SAMPLES, generator=generator)
            drawn = drawn[(s[drawn] == 0) | (kind == "spiking")][: WIDTHS[0]]
            part = [x[drawn] for x in (gs, gt * (kind == "spiking"), v, s, slope)]
            before = part[2] - part[4]
            part[4] = (part[2] - before.where(before < 1, torch.zeros(()))).clamp(min=MIN_SLOPE)
            rows[GS], rows[GT] = part[0].numpy(), part[1].numpy()
            arguments = (rows, constants, part[2].numpy(), before.numpy())
            compiled.functions(kind, WIDTHS[0]).ctypes(*map(_pointer, arguments))
            expected, got = formula(*part), torch.from_numpy(rows[DEP].copy())
            size = expected.abs()
            size = size.clamp(min=0.1 * float(size.mean()))  # sums that almost cancel keep the rounding of their terms
            if expected.shape != got.shape or not ((got - expected).abs() <= _TOLERANCE * size).all():
                raise CannotCompile("it is not element-wise, or not the same each time")


def _pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def _written(source: str, path: Path) -> Path:
    if not path.is_file() or path.read_text() != source:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text(source)
        temporary.replace(path)
    return path


def _folder() -> Path:
    """Where modules are kept, beside numba's compiled code; both are run when they are read.

    Raises:
        OSError: it cannot be made, or others could put files there.
    """
    folder = cache_root() / "formulas"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    compiled = folder / "__pycache__"
    compiled.mkdir(exist_ok=True, mode=0o700)
    if not (is_private(folder) and is_private(compiled)):
        raise PermissionError(f"{folder} can be written by others")
    return folder


def _folder_for_now() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="snnrun-"))  # readable and writable by this user alone
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _load(source: str) -> Any:
    """Import a generated module from the cache folder; written whole or not at all, and never run if changed."""
    name = f"formula_{hashlib.sha256(source.encode()).hexdigest()[:20]}.py"
    try:
        path = _written(source, _folder() / name)
    except OSError:  # a cache that cannot be written, or that others can: compile for this process alone
        path = _written(source, _folder_for_now() / name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # numba's cache imports it by name
    spec.loader.exec_module(module)
    return module

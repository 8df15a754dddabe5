"""Compiled recurrences on dense currents, for layers whose synapses are a library's: convolutions and what follows.

Arrays are [T, cells], a cell being one neuron of one sample. Tasks are some blocks of cells, these as in
:mod:`snnrun.kernels.cpu.forward_loops`; the last block ends with the last cell and may overlap the one before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnrun.kernels.cpu.forward_loops import step
from snnrun.kernels.cpu.rows import BIAS, DRIVE, E2, GI, GS, GT, ROWS, ZERO, X
from snnrun.kernels.cpu.vector import at_threshold, call, claim, compiled, f32, pointer

PER_TASK = 16  # blocks that advance together: 5 KB a step, for memory is read and written by pages


@compiled
def _load(block: Any, rows: Any, row: Any, source: Any, t: Any, first: Any) -> None:
    # unsigned, or numba's handling of negative indices keeps the loop scalar
    for j in range(16 * len(block)):
        rows[row, j] = source[t, first + np.uint64(j)]


@compiled
def _store(block: Any, rows: Any, row: Any, out: Any, t: Any, first: Any) -> None:
    for j in range(16 * len(block)):
        out[t, first + np.uint64(j)] = rows[row, j]


@compiled
def _store_spikes(block: Any, rows: Any, out: Any, t: Any, first: Any) -> None:
    for j in range(16 * len(block)):
        out[t, first + np.uint64(j)] = f32(1) if rows[0, j] >= f32(1) else f32(0)


@compiled
def _spiking(block: Any, potential: Any, at: Any) -> Any:
    spikes = np.int64(0)
    for lane in range(0, 16 * len(block), 16):
        spikes |= at_threshold(potential, at + lane)
    return spikes != 0


@compiled
def simulate(block: Any, counter: Any, current: Any, drive: Any, constants: Any, spikes: Any, potential: Any) -> None:
    """``current`` [T, cells], ``drive`` [1, cells] -> ``spikes``, ``potential``."""
    T, cells = current.shape
    W = 16 * len(block)
    blocks = (cells + W - 1) // W
    alpha_i, alpha_v, beta_i, beta_v = constants[0], constants[1], constants[2], constants[3]
    while True:
        start = claim(counter) * PER_TASK
        if start >= blocks:
            break
        number = min(PER_TASK, blocks - start)
        states, out = np.zeros((number, 4, W), np.float32), np.zeros((1, W), np.float32)
        for k in range(number):
            _load(block, states[k], DRIVE, drive, 0, np.uint64(min((start + k) * W, cells - W)))
        for t in range(T):
            for k in range(number):
                rows, first = states[k], np.uint64(min((start + k) * W, cells - W))
                _load(block, rows, X, current, t, first)
                step(block, rows, out, 0, alpha_i, alpha_v, beta_i, beta_v)
                _store(block, out, 0, potential, t, first)
                _store_spikes(block, out, spikes, t, first)


@compiled
def backpropagate(
    block: Any,
    counter: Any,
    formulas: Any,
    constants: Any,
    gs: Any,
    gt: Any,
    potential: Any,
    current: Any,
    timing_current: Any,
    bias: Any,
) -> None:
    """All [T, cells] but ``bias`` [1, cells]; ``timing_current`` without an element where nobody asks for it."""
    T, cells = potential.shape
    W = 16 * len(block)
    blocks = (cells + W - 1) // W
    timing, reads_timing = timing_current.size > 0, gt.size > 0
    while True:
        start = claim(counter) * PER_TASK
        if start >= blocks:
            break
        number = min(PER_TASK, blocks - start)
        states = np.zeros((number, ROWS, W), np.float32)
        for t in range(T - 1, -1, -1):
            for k in range(number):
                rows, first = states[k], np.uint64(min((start + k) * W, cells - W))
                at = t * cells + np.int64(first)
                v = pointer(potential, at)
                before = pointer(potential, at - cells) if t > 0 else pointer(rows, ZERO * W)
                _load(block, rows, GS, gs, t, first)
                if _spiking(block, potential, at):
                    if reads_timing:
                        _load(block, rows, GT, gt, t, first)
                    call(formulas[1], rows, constants, v, before)
                else:
                    call(formulas[0], rows, constants, v, before)
                _store(block, rows, GI, current, t, first)
                if timing:
                    _store(block, rows, E2, timing_current, t, first)
        for k in range(number):
            _store(block, states[k], BIAS, bias, 0, np.uint64(min((start + k) * W, cells - W)))

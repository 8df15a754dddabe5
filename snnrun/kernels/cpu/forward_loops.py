"""The compiled loops of a dense layer, forward: events in, events out.

A layer's neurons are cut into blocks of ``width`` lanes, and a task is one block on a group of samples. A block's
states are rows of one small array, and every inner loop runs over a number of lanes that is known when it is compiled:
so LLVM needs no alias checks and emits vector code. The number is ``16 * len(block)``; ``block`` is a tuple of which
only the length, part of its type, matters. Each weight gradient has one owner, and sums have a fixed order, whatever
the threads.

Layouts (T steps, B samples, K blocks of W lanes):
    weight    [fan_in, K, W]      weights, input-major: an event reads one row
    offsets  [B, T + 1]           events of sample b at step t are address[offsets[b, t] : offsets[b, t + 1]]
    lanes    [K, B, T * W]        the lanes that fired, in order of time; counts [K, B, T] says how many per step
    potential[K, B, T, W]         V[t], kept for the backward pass
    state    [2, K, B, W]         I and V after the last step, reset where a spike came: a window can go on in pieces
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from snnrun.kernels.cpu.rows import AHEAD, DRIVE, I, U, X
from snnrun.kernels.cpu.vector import at_threshold, claim, compiled, count_if, f32, lowest_bit, pointer, prefetch


@compiled
def _load(block: Any, rows: Any, row: Any, source: Any, k: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = source[k, j]


@compiled
def _add(block: Any, rows: Any, weight: Any, k: Any, a: Any) -> None:
    for j in range(16 * len(block)):
        rows[X, j] += weight[a, k, j]


@compiled
def _add_four(block: Any, rows: Any, weight: Any, k: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    # a sum of its own first: adding one by one would wait for the row four times
    for j in range(16 * len(block)):
        rows[X, j] += (weight[a, k, j] + weight[b, k, j]) + (weight[c, k, j] + weight[d, k, j])


@compiled
def step(block: Any, rows: Any, out: Any, at: Any, alpha_i: Any, alpha_v: Any, beta_i: Any, beta_v: Any) -> Any:
    W, fired_lanes = 16 * len(block), np.int32(0)
    state, potential = carray(pointer(rows, 0), (4, W)), carray(pointer(out, at * W), (W,))
    for j in range(W):
        i = alpha_i * state[I, j] + beta_i * state[X, j]
        v = alpha_v * state[U, j] + beta_v * i + state[DRIVE, j]
        fired = v >= f32(1)
        potential[j] = v
        state[I, j] = f32(0) if fired else i
        state[U, j] = f32(0) if fired else v
        state[X, j] = f32(0)
        fired_lanes = count_if(fired_lanes, fired)
    return fired_lanes


@compiled
def _quiet_step(block: Any, rows: Any, out: Any, at: Any, alpha_i: Any, alpha_v: Any, beta_v: Any) -> Any:
    """A step without input."""
    W, fired_lanes = 16 * len(block), np.int32(0)
    state, potential = carray(pointer(rows, 0), (4, W)), carray(pointer(out, at * W), (W,))
    for j in range(W):
        i = alpha_i * state[I, j]
        v = alpha_v * state[U, j] + beta_v * i + state[DRIVE, j]
        fired = v >= f32(1)
        potential[j] = v
        state[I, j] = f32(0) if fired else i
        state[U, j] = f32(0) if fired else v
        fired_lanes = count_if(fired_lanes, fired)
    return fired_lanes


@compiled
def forward(
    block: Any,
    counter: Any,
    groups: Any,
    weight: Any,
    drive: Any,
    offsets: Any,
    address: Any,
    constants: Any,
    start: Any,
    stop: Any,
    state: Any,
    potential: Any,
    lanes: Any,
    counts: Any,
    ends: Any,
) -> None:
    """Steps start <= t < stop of a layer; ``ends`` [K, B] counts the spikes so far; potential may have no element."""
    K, B = ends.shape
    W = 16 * len(block)
    rows, passing = np.zeros((4, W), np.float32), np.zeros((1, W), np.float32)
    alpha_i, alpha_v, beta_i, beta_v = constants[0], constants[1], constants[2], constants[3]
    keep = potential.size > 0
    while True:
        task = claim(counter)
        if task >= K * groups:
            break
        k, group = task // groups, task % groups
        _load(block, rows, DRIVE, drive, k)
        for b in range(B * group // groups, B * (group + 1) // groups):
            _load(block, rows, I, state[0, k], b)
            _load(block, rows, U, state[1, k], b)
            out = potential[k, b] if keep else passing
            end = ends[k, b]
            event = asked = offsets[b, start]
            for t in range(start, stop):
                last = offsets[b, t + 1]
                soon = min(last + AHEAD, offsets[b, stop])
                while asked < soon:
                    prefetch(block, weight, (address[asked] * K + k) * W)
                    asked += 1
                quiet = event == last
                while event + 4 <= last:
                    _add_four(
                        block,
                        rows,
                        weight,
                        k,
                        address[event],
                        address[event + 1],
                        address[event + 2],
                        address[event + 3],
                    )
                    event += 4
                while event < last:
                    _add(block, rows, weight, k, address[event])
                    event += 1
                at = t if keep else 0
                if quiet:
                    fired = _quiet_step(block, rows, out, at, alpha_i, alpha_v, beta_v)
                else:
                    fired = step(block, rows, out, at, alpha_i, alpha_v, beta_i, beta_v)
                counts[k, b, t] = fired
                if fired > 0:
                    for lane in range(0, W, 16):
                        spikes = at_threshold(out, at * W + lane)
                        while spikes:
                            lanes[k, b, end] = lane + lowest_bit(spikes)
                            end += 1
                            spikes &= spikes - 1
            ends[k, b] = end
            _store_state(block, rows, state, k, b)


@compiled
def _store_state(block: Any, rows: Any, state: Any, k: Any, b: Any) -> None:
    for j in range(16 * len(block)):
        state[0, k, b, j] = rows[I, j]
        state[1, k, b, j] = rows[U, j]


@compiled
def merge(
    counter: Any, start: Any, stop: Any, width: Any, counts: Any, lanes: Any, taken: Any, offsets: Any, address: Any
) -> None:
    """Join the spikes of all blocks, steps start <= t < stop, to the event list that the next layer reads.

    ``taken`` [K, B] counts the spikes that were joined before; ``offsets[b, start]`` is set.
    """
    K, B = taken.shape
    done = np.empty(K, np.int64)  # of this thread alone: neighbours in ``taken`` belong to other samples
    while True:
        b = claim(counter)
        if b >= B:
            break
        done[:] = taken[:, b]
        position = offsets[b, start]
        for t in range(start, stop):
            for k in range(K):
                n = np.int64(counts[k, b, t])
                if n > 0:
                    for p in range(done[k], done[k] + n):
                        address[position] = k * width + lanes[k, b, p]
                        position += 1
                    done[k] += n
            offsets[b, t + 1] = position
        taken[:, b] = done

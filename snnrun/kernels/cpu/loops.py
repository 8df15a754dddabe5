"""The compiled loops of a dense layer: events in, events out, and back.

A layer's neurons are cut into blocks of ``width`` lanes, and a task is one block on a group of samples. A block's
states are rows of one small array, and every inner loop runs over a number of lanes that is known when it is compiled:
so LLVM needs no alias checks and emits vector code. The number is ``16 * len(block)``; ``block`` is a tuple of which
only the length, part of its type, matters. Each weight gradient has one owner, and sums have a fixed order, whatever
the threads.

Layouts (T steps, B samples, K blocks of W lanes):
    weight   [K, fan_in, W]       packed weights
    offsets  [B, T + 1]           events of sample b at step t are address[offsets[b, t] : offsets[b, t + 1]]
    lanes    [K, B, T * W]        the lanes that fired, in order of time; counts [K, B, T] says how many per step
    potential[K, B, T, W]         V[t], kept for the backward pass
    state    [2, K, B, W]         I and V after the last step, reset where a spike came: a window can go on in pieces
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from snnrun.kernels.constants import MIN_SLOPE
from snnrun.kernels.cpu.vector import FASTMATH, call, claim

f32 = np.float32
_MIN_SLOPE = f32(MIN_SLOPE)
_compile = njit(fastmath=FASTMATH, error_model="numpy", nogil=True, cache=True)
_compile_sums = njit(fastmath=FASTMATH | {"reassoc"}, error_model="numpy", nogil=True, cache=True)

# Rows of a block in the forward pass ...
I, U, X, DRIVE, V_OUT = range(5)  # noqa: E741
# ... and in the backward pass; a method's formula reads the first five and writes G
GS, GT, V, S, SLOPE, G, DEP, GI, E1, E2, H, BIAS, V_NOW, V_BEFORE = range(14)
FORMULA_ROWS = G + 1


@_compile
def _clear(block: Any, rows: Any, row: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = f32(0)


@_compile
def _load(block: Any, rows: Any, row: Any, source: Any, k: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = source[k, j]


@_compile
def _add(block: Any, rows: Any, weight: Any, k: Any, a: Any) -> None:
    for j in range(16 * len(block)):
        rows[X, j] += weight[k, a, j]


@_compile
def _add_four(block: Any, rows: Any, weight: Any, k: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    # a sum of its own first: adding one by one would wait for the row four times
    for j in range(16 * len(block)):
        rows[X, j] += (weight[k, a, j] + weight[k, b, j]) + (weight[k, c, j] + weight[k, d, j])


@_compile
def _step(block: Any, rows: Any, alpha_i: Any, alpha_v: Any, beta_i: Any, beta_v: Any) -> Any:
    fired_lanes = np.int32(0)
    for j in range(16 * len(block)):
        i = alpha_i * rows[I, j] + beta_i * rows[X, j]
        v = alpha_v * rows[U, j] + beta_v * i + rows[DRIVE, j]
        fired = v >= f32(1)
        rows[V_OUT, j] = v
        rows[I, j] = f32(0) if fired else i
        rows[U, j] = f32(0) if fired else v
        rows[X, j] = f32(0)
        fired_lanes += np.int32(fired)
    return fired_lanes


@_compile
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
    rows = np.zeros((5, 16 * len(block)), np.float32)
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
            end = ends[k, b]
            event = offsets[b, start]
            for t in range(start, stop):
                last = offsets[b, t + 1]
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
                fired = _step(block, rows, alpha_i, alpha_v, beta_i, beta_v)
                counts[k, b, t] = fired
                if fired > 0:
                    for j in range(16 * len(block)):
                        if rows[V_OUT, j] >= f32(1):
                            lanes[k, b, end] = j
                            end += 1
                if keep:
                    _store_potential(block, rows, potential, k, b, t)
            ends[k, b] = end
            _store_state(block, rows, state, k, b)


@_compile
def _store_potential(block: Any, rows: Any, potential: Any, k: Any, b: Any, t: Any) -> None:
    for j in range(16 * len(block)):
        potential[k, b, t, j] = rows[V_OUT, j]


@_compile
def _store_state(block: Any, rows: Any, state: Any, k: Any, b: Any) -> None:
    for j in range(16 * len(block)):
        state[0, k, b, j] = rows[I, j]
        state[1, k, b, j] = rows[U, j]


@_compile
def merge(
    counter: Any, start: Any, stop: Any, width: Any, counts: Any, lanes: Any, taken: Any, offsets: Any, address: Any
) -> None:
    """Join the spikes of all blocks, steps start <= t < stop, to the event list that the next layer reads.

    ``taken`` [K, B] counts the spikes that were joined before; ``offsets[b, start]`` is set.
    """
    K, B = taken.shape
    while True:
        b = claim(counter)
        if b >= B:
            break
        position = offsets[b, start]
        for t in range(start, stop):
            for k in range(K):
                n = np.int64(counts[k, b, t])
                first = taken[k, b]
                for p in range(first, first + n):
                    address[position] = k * width + lanes[k, b, p]
                    position += 1
                taken[k, b] = first + n
            offsets[b, t + 1] = position


@_compile
def _derive(block: Any, rows: Any) -> None:
    for j in range(16 * len(block)):
        v, before = rows[V_NOW, j], rows[V_BEFORE, j]
        kept = before if before < f32(1) else f32(0)
        rise = v - kept
        rows[V, j] = v
        rows[S, j] = f32(1) if v >= f32(1) else f32(0)
        rows[SLOPE, j] = _MIN_SLOPE if rise < _MIN_SLOPE else rise
        rows[V_NOW, j] = before


@_compile
def _load_potential(block: Any, rows: Any, row: Any, potential: Any, k: Any, b: Any, t: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = potential[k, b, t, j]


@_compile
def _load_gradient(block: Any, rows: Any, row: Any, gradient: Any, b: Any, t: Any, k: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = gradient[b, t, k, j]


@_compile
def _fill(block: Any, rows: Any, row: Any, value: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = value


@_compile
def _add_product(block: Any, rows: Any, above: Any, n: Any, k: Any, x: Any) -> None:
    for j in range(16 * len(block)):
        rows[GS, j] += x * above[n, k, j]


@_compile
def _add_five_products(
    block: Any, rows: Any, above: Any, n: Any, k: Any, x0: Any, x1: Any, x2: Any, x3: Any, x4: Any
) -> None:
    for j in range(16 * len(block)):
        rows[GS, j] += (
            x0 * above[n, k, j]
            + x1 * above[n + 1, k, j]
            + x2 * above[n + 2, k, j]
            + x3 * above[n + 3, k, j]
            + x4 * above[n + 4, k, j]
        )


@_compile_sums
def _dot(weight: Any, k: Any, source: Any, gradient: Any, b: Any, t: Any) -> Any:
    total = f32(0)
    for j in range(weight.shape[2]):
        total += gradient[b, t, k, j] * weight[k, source, j]
    return total


@_compile
def _reverse(block: Any, rows: Any, alpha_i: Any, alpha_v: Any, beta: Any) -> None:
    for j in range(16 * len(block)):
        kept = f32(1) - rows[S, j]
        dep = rows[G, j] + alpha_v * kept * rows[DEP, j]
        rows[DEP, j] = dep
        rows[GI, j] = beta * dep + alpha_i * kept * rows[GI, j]
        rows[BIAS, j] += dep


@_compile
def _reverse_timing(block: Any, rows: Any, alpha_i: Any, alpha_v: Any, beta: Any) -> None:
    for j in range(16 * len(block)):
        kept = f32(1) - rows[S, j]
        h = f32(0.5) * rows[G, j]
        e1 = kept * (rows[H, j] + alpha_v * rows[E1, j]) - alpha_v * h
        rows[E1, j] = e1
        rows[E2, j] = alpha_i * kept * rows[E2, j] + beta * e1 - beta * alpha_i * h
        rows[H, j] = h


@_compile
def _store_below(block: Any, rows: Any, row: Any, out: Any, b: Any, t: Any, k: Any) -> None:
    for j in range(16 * len(block)):
        out[b, t, k, j] = rows[row, j]


@_compile
def _accumulate(block: Any, rows: Any, gradient: Any, group: Any, k: Any, source: Any) -> None:
    for j in range(16 * len(block)):
        gradient[group, k, source, j] += rows[GI, j]


@_compile
def backward(
    block: Any,
    counter: Any,
    groups: Any,
    formula: Any,
    params: Any,
    constants: Any,
    first: Any,
    lasts: Any,
    potential: Any,
    lanes: Any,
    counts: Any,
    ends: Any,
    offsets: Any,
    address: Any,
    gs_every: Any,
    gs: Any,
    gt: Any,
    gi_above: Any,
    e2_above: Any,
    above: Any,
    weight_above: Any,
    gi: Any,
    e2: Any,
    weight_gradient: Any,
    bias_gradient: Any,
) -> None:
    """The reverse recurrences of a layer, its weight and bias gradients, and what it hands to the layer below.

    Args (beyond the module's layouts; n samples from ``first`` on are treated, arrays of length n count from there):
        formula, params: address of the method's compiled formula, and its constants.
        lasts: [n], steps at and after lasts[b] have no gradient.
        gs_every: a gradient that reaches every spike's gS (firing-rate penalty).
        gs, gt: dL/dS and dL/dt from above, [n, T, K, W], or without an element.
        gi_above, e2_above: bI gI and bI e2 of the layer above, [n, T, K', W'], or without an element.
        above: its weights [N', K, W]; gS += gi_above above. Without an element where ``gs`` holds the product.
        weight_above: the same, packed [K', N, W']: spikes gather their gT from it.
        gi, e2: out, bI gI and bI e2, [n, T, K, W], or without an element where no layer below wants them.
        weight_gradient: added to, [groups, K, fan_in, W]; bias_gradient: [groups, K, W], summed dep.
    """
    K = ends.shape[0]
    n, T, W = lasts.shape[0], counts.shape[2], 16 * len(block)
    rows = np.zeros((14, W), np.float32)
    alpha_i, alpha_v, beta = constants[0], constants[1], constants[2] * constants[3]
    given_gs, given_gt = gs.size > 0, gt.size > 0
    hands_gi, hands_e2 = gi.size > 0, e2.size > 0
    gathers = e2_above.size > 0
    products = above.shape[0]
    gi_flat = gi_above.reshape((gi_above.shape[0], gi_above.shape[1], gi_above.shape[2] * gi_above.shape[3]))
    while True:
        task = claim(counter)
        if task >= K * groups:
            break
        k, group = task // groups, task % groups
        _clear(block, rows, BIAS)
        for b in range(n * group // groups, n * (group + 1) // groups):
            sample, last = first + b, lasts[b]
            if last == 0:
                continue
            for row in (GT, DEP, GI, E1, E2, H):
                _clear(block, rows, row)
            end = ends[k, sample]
            for t in range(last, T):
                end -= np.int64(counts[k, sample, t])
            _load_potential(block, rows, V_NOW, potential, k, sample, last - 1)
            for t in range(last - 1, -1, -1):
                if t > 0:
                    _load_potential(block, rows, V_BEFORE, potential, k, sample, t - 1)
                else:
                    _clear(block, rows, V_BEFORE)
                _derive(block, rows)
                if given_gs:
                    _load_gradient(block, rows, GS, gs, b, t, k)
                else:
                    _fill(block, rows, GS, gs_every)
                o = 0
                while o + 5 <= products:
                    _add_five_products(
                        block, rows, above, o, k,
                        gi_flat[b, t, o], gi_flat[b, t, o + 1], gi_flat[b, t, o + 2], gi_flat[b, t, o + 3],
                        gi_flat[b, t, o + 4],
                    )  # fmt: skip
                    o += 5
                while o < products:
                    _add_product(block, rows, above, o, k, gi_flat[b, t, o])
                    o += 1
                start = end - np.int64(counts[k, sample, t])
                for p in range(start, end):
                    j = np.int64(lanes[k, sample, p])
                    if given_gt:
                        rows[GT, j] = gt[b, t, k, j]
                    if gathers:
                        total = f32(0)
                        for upper in range(weight_above.shape[0]):
                            total += _dot(weight_above, upper, k * W + j, e2_above, b, t)
                        rows[GT, j] = total
                call(formula, rows, params)
                for p in range(start, end):
                    rows[GT, np.int64(lanes[k, sample, p])] = f32(0)
                end = start
                _reverse(block, rows, alpha_i, alpha_v, beta)
                if hands_gi:
                    _store_below(block, rows, GI, gi, b, t, k)
                if hands_e2:
                    _reverse_timing(block, rows, alpha_i, alpha_v, beta)
                    _store_below(block, rows, E2, e2, b, t, k)
                for event in range(offsets[sample, t], offsets[sample, t + 1]):
                    _accumulate(block, rows, weight_gradient, group, k, address[event])
        for j in range(W):
            bias_gradient[group, k, j] += rows[BIAS, j]


@_compile
def inject(counter: Any, gs: Any, gt: Any, from_end: Any, gs_out: Any, gt_out: Any, lasts: Any) -> None:
    """Gradients of the output spikes [T, B, N] to the layout of :func:`backward` [B, T, K, W], and each sample's last
    step with a gradient."""
    T, B, N = gs.shape
    W = gs_out.shape[3]
    while True:
        b = claim(counter)
        if b >= B:
            break
        last: Any = T
        while last > 0 and not from_end:
            silent = True
            for n in range(N):
                silent &= gs[last - 1, b, n] == f32(0) and gt[last - 1, b, n] == f32(0)
            if not silent:
                break
            last -= 1
        lasts[b] = last
        for t in range(last):
            for n in range(N):
                gs_out[b, t, n // W, n % W] = gs[t, b, n]
                gt_out[b, t, n // W, n % W] = gt[t, b, n]


@_compile
def pack(counter: Any, weight: Any, packed: Any) -> None:
    """Weights [N, fan_in] to [K, fan_in, W], zeros in the lanes without a neuron."""
    N, fan_in = weight.shape
    K, _, W = packed.shape
    tiles = (fan_in + 63) // 64
    while True:
        task = claim(counter)
        if task >= K * tiles:
            break
        k, tile = task // tiles, task % tiles
        for j in range(W):
            n = k * W + j
            for source in range(64 * tile, min(64 * tile + 64, fan_in)):
                packed[k, source, j] = weight[n, source] if n < N else f32(0)


@_compile
def unpack(counter: Any, packed: Any, weight: Any) -> None:
    """The sum of gradients [groups, K, fan_in, W] to [N, fan_in]."""
    N, fan_in = weight.shape
    groups, K, _, W = packed.shape
    tiles = (fan_in + 63) // 64
    while True:
        task = claim(counter)
        if task >= K * tiles:
            break
        k, tile = task // tiles, task % tiles
        for j in range(min(W, N - k * W)):
            for source in range(64 * tile, min(64 * tile + 64, fan_in)):
                total = packed[0, k, source, j]
                for group in range(1, groups):
                    total += packed[group, k, source, j]
                weight[k * W + j, source] = total


@_compile
def count(counter: Any, offsets: Any, address: Any, term: Any, out: Any) -> None:
    """Add the events of each address before step ``term`` to ``out`` [B, N]."""
    B = out.shape[0]
    while True:
        b = claim(counter)
        if b >= B:
            break
        for event in range(offsets[b, 0], offsets[b, term]):
            out[b, address[event]] += f32(1)


@_compile
def densify(counter: Any, offsets: Any, address: Any, out: Any) -> None:
    """Events to spikes 0 or 1, [T, B, N]; ``out`` is zero before."""
    T, B, _ = out.shape
    while True:
        b = claim(counter)
        if b >= B:
            break
        for t in range(T):
            for event in range(offsets[b, t], offsets[b, t + 1]):
                out[t, b, address[event]] = f32(1)

"""The compiled loops of a dense layer: events in, events out, and back.

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

from snnrun.kernels.cpu.rows import BIAS, DEP, DRIVE, E1, E2, GI, GS, GT, ROWS, ZERO, H, I, U, X
from snnrun.kernels.cpu.vector import (
    at_threshold,
    call,
    claim,
    compiled,
    compiled_sums,
    count_if,
    lowest_bit,
    pointer,
    prefetch,
)

f32 = np.float32

ROWS_PER_TASK = 64  # of a weight gradient
AHEAD = 8  # events whose rows are asked for before they are needed: they lie anywhere, and no hardware can guess where


@compiled
def _clear(block: Any, rows: Any, row: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = f32(0)


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
def _step(block: Any, rows: Any, out: Any, at: Any, alpha_i: Any, alpha_v: Any, beta_i: Any, beta_v: Any) -> Any:
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
                    fired = _step(block, rows, out, at, alpha_i, alpha_v, beta_i, beta_v)
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


@compiled
def _load_gradient(block: Any, rows: Any, row: Any, gradient: Any, b: Any, t: Any, k: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = gradient[b, t, k, j]


@compiled
def _fill(block: Any, rows: Any, row: Any, value: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = value


@compiled
def _add_product(block: Any, rows: Any, above: Any, n: Any, k: Any, x: Any) -> None:
    for j in range(16 * len(block)):
        rows[GS, j] += x * above[n, k, j]


@compiled
def _ten_products(block: Any, rows: Any, every: Any, above: Any, n: Any, k: Any, x: Any) -> None:
    x0, x1, x2, x3, x4, x5, x6, x7, x8, x9 = x
    for j in range(16 * len(block)):
        rows[GS, j] = (
            every
            + x0 * above[n, k, j]
            + x1 * above[n + 1, k, j]
            + x2 * above[n + 2, k, j]
            + x3 * above[n + 3, k, j]
            + x4 * above[n + 4, k, j]
            + x5 * above[n + 5, k, j]
            + x6 * above[n + 6, k, j]
            + x7 * above[n + 7, k, j]
            + x8 * above[n + 8, k, j]
            + x9 * above[n + 9, k, j]
        )


@compiled_sums
def _dot(weight: Any, source: Any, k: Any, gradient: Any, b: Any, t: Any) -> Any:
    total = f32(0)
    for j in range(weight.shape[2]):
        total += gradient[b, t, k, j] * weight[source, k, j]
    return total


@compiled
def _store_below(block: Any, rows: Any, row: Any, out: Any, b: Any, t: Any, k: Any) -> None:
    for j in range(16 * len(block)):
        out[b, t, k, j] = rows[row, j]


@compiled
def _accumulate(block: Any, rows: Any, gradient: Any, group: Any, source: Any, k: Any) -> None:
    for j in range(16 * len(block)):
        gradient[group, k, source, j] += rows[GI, j]


@compiled
def backward(
    block: Any,
    counter: Any,
    groups: Any,
    formulas: Any,
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
        formulas, constants: of a compiled formula, for quiet and for spiking rows.
        lasts: [n], steps at and after lasts[b] have no gradient.
        gs_every: a gradient that reaches every spike's gS (firing-rate penalty).
        gs, gt: dL/dS and dL/dt from above, [n, T, K, W], or without an element.
        gi_above, e2_above: bI gI and bI e2 of the layer above, [n, T, K', W'], or without an element.
        above: its weights [N', K, W]; gS += gi_above above. Without an element where ``gs`` holds the product.
        weight_above: the same, input-major [N, K', W']: spikes gather their gT from it.
        gi, e2: out, bI gI and bI e2, [n, T, K, W], or without an element where no layer below wants them.
        weight_gradient: [groups, K, fan_in, W]: a block's part is contiguous. Cleared first where ``first`` is 0.
        bias_gradient: the same, [groups, K, W], the sum of dep.
    """
    (K, B), fan_in = ends.shape, weight_gradient.shape[2]
    n, T, W = lasts.shape[0], counts.shape[2], 16 * len(block)
    rows = np.zeros((ROWS, W), np.float32)
    quiet_formula, spiking_formula = formulas[0], formulas[1]
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
        if first == 0:
            weight_gradient[group, k] = f32(0)
            bias_gradient[group, k] = f32(0)
        _clear(block, rows, BIAS)
        for b in range(n * group // groups, n * (group + 1) // groups):
            sample, last = first + b, lasts[b]
            if last == 0:
                continue
            for row in (GT, DEP, GI, E1, E2, H):
                _clear(block, rows, row)
            end, asked = ends[k, sample], offsets[sample, last]
            for t in range(last, T):
                end -= np.int64(counts[k, sample, t])
            for t in range(last - 1, -1, -1):
                at = ((k * B + sample) * T + t) * W
                v = pointer(potential, at)
                before = pointer(potential, at - W) if t > 0 else pointer(rows, ZERO * W)
                start = end - np.int64(counts[k, sample, t])
                o = 0
                if given_gs:
                    _load_gradient(block, rows, GS, gs, b, t, k)
                elif products >= 10:
                    x = gi_flat[b, t]
                    _ten_products(
                        block, rows, gs_every, above, 0, k,
                        (x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9]),
                    )  # fmt: skip
                    o = 10
                else:
                    _fill(block, rows, GS, gs_every)
                while o < products:
                    _add_product(block, rows, above, o, k, gi_flat[b, t, o])
                    o += 1
                if start == end:
                    call(quiet_formula, rows, constants, v, before)
                else:
                    for p in range(start, end):
                        j = np.int64(lanes[k, sample, p])
                        if given_gt:
                            rows[GT, j] = gt[b, t, k, j]
                        if gathers:
                            total = f32(0)
                            for upper in range(weight_above.shape[1]):
                                total += _dot(weight_above, k * W + j, upper, e2_above, b, t)
                            rows[GT, j] = total
                    call(spiking_formula, rows, constants, v, before)
                    for p in range(start, end):
                        rows[GT, np.int64(lanes[k, sample, p])] = f32(0)
                    end = start
                if hands_gi:
                    _store_below(block, rows, GI, gi, b, t, k)
                if hands_e2:
                    _store_below(block, rows, E2, e2, b, t, k)
                soon = max(offsets[sample, t] - AHEAD, offsets[sample, 0])
                while asked > soon:
                    asked -= 1
                    prefetch(block, weight_gradient, ((group * K + k) * fan_in + address[asked]) * W)
                for event in range(offsets[sample, t], offsets[sample, t + 1]):
                    _accumulate(block, rows, weight_gradient, group, address[event], k)
        for lane in range(W):
            bias_gradient[group, k, lane] += rows[BIAS, lane]


@compiled
def collect(block: Any, counter: Any, sums: Any, out: Any) -> None:
    """Sums of groups [groups, K, fan_in, W] to one weight gradient, input-major [fan_in, N]."""
    groups, K, fan_in, W = sums.shape
    N = out.shape[1]
    while True:
        task = claim(counter)
        if task * ROWS_PER_TASK >= fan_in:
            break
        for source in range(task * ROWS_PER_TASK, min((task + 1) * ROWS_PER_TASK, fan_in)):
            for k in range(K):
                if (k + 1) * W <= N:
                    _collect_block(block, sums, k, source, out)
                else:
                    for j in range(N - k * W):
                        total = sums[0, k, source, j]
                        for group in range(1, groups):
                            total += sums[group, k, source, j]
                        out[source, k * W + j] = total


@compiled
def _collect_block(block: Any, sums: Any, k: Any, source: Any, out: Any) -> None:
    W = 16 * len(block)
    target = carray(pointer(out, source * out.shape[1] + k * W), (W,))
    for j in range(W):
        target[j] = sums[0, k, source, j]
    for group in range(1, sums.shape[0]):
        for j in range(W):
            target[j] += sums[group, k, source, j]


@compiled
def inject(counter: Any, gs: Any, gt: Any, from_end: Any, gs_out: Any, gt_out: Any, lasts: Any) -> None:
    """Gradients of the output spikes [T, B, N] to the layout of :func:`backward` [B, T, K, W], idle lanes 0, and each
    sample's last step with a gradient."""
    T, B, N = gs.shape
    K, W = gs_out.shape[2:]
    while True:
        b = claim(counter)
        if b >= B:
            break
        last = np.int64(T)
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
            for lane in range(N, K * W):
                gs_out[b, t, K - 1, lane % W] = f32(0)
                gt_out[b, t, K - 1, lane % W] = f32(0)


@compiled
def last_needed(offsets: Any, address: Any, neurons: Any, steps: Any) -> Any:
    """The steps by which every neuron of every sample has fired; steps + 1 if one is silent."""
    needed = np.int64(0)
    for b in range(offsets.shape[0]):
        fired = np.zeros(neurons, np.bool_)
        silent = neurons
        for t in range(steps):
            for event in range(offsets[b, t], offsets[b, t + 1]):
                if not fired[address[event]]:
                    fired[address[event]] = True
                    silent -= 1
            if silent == 0:
                needed = max(needed, np.int64(t + 1))
                break
        if silent > 0:
            return steps + 1
    return needed


@compiled
def count(counter: Any, offsets: Any, address: Any, term: Any, out: Any) -> None:
    """Add the events of each address before step ``term`` to ``out`` [B, N]."""
    B = out.shape[0]
    while True:
        b = claim(counter)
        if b >= B:
            break
        for event in range(offsets[b, 0], offsets[b, term]):
            out[b, address[event]] += f32(1)


@compiled
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

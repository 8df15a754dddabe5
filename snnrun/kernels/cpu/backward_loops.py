"""The compiled loops of a dense layer, backward: method, recurrences and weight gradient.

Layouts as in :mod:`snnrun.kernels.cpu.forward_loops`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from snnrun.kernels.cpu.rows import AHEAD, BIAS, DEP, E1, E2, GI, GS, GT, ROWS, ZERO, H
from snnrun.kernels.cpu.vector import call, claim, compiled, compiled_sums, f32, pointer, prefetch

ROWS_PER_TASK = 64  # of a weight gradient


@compiled
def _clear(block: Any, rows: Any, row: Any) -> None:
    for j in range(16 * len(block)):
        rows[row, j] = f32(0)


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

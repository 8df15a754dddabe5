"""The source of a compiled formula: one row of a block, one step back in time.

g = formula(gs, gt, v, s, slope) and the reverse recurrences of :func:`snnrun.kernels.reference.backpropagate` share one
loop, so that what lies between them stays in registers. A row is *quiet* where no lane spikes: s and gt are 0 there,
and what they multiply falls away, divisions above all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from snnrun.kernels.cpu.rows import WIDTHS


def module_source(lines: Sequence[str], quiet: Sequence[str], g: str, params: int) -> str:
    """A module of C functions ``KIND_WIDTH(rows, params, V[t], V[t-1])``; kinds are quiet, spiking, quiet_timing and
    spiking_timing.

    Args:
        lines: assignments that compute ``g`` from gs, gt, v, s and slope.
        quiet: the same for quiet rows.
        params: number of constants p0, p1 ...; the neuron's four come before them.
    """
    constants = "".join(f"    p{i} = params[{i + 4}]\n" for i in range(params))
    bodies = {"quiet": quiet, "spiking": lines}
    functions = []
    for width in WIDTHS:
        for kind, body in bodies.items():
            loop = _HEAD[kind] + "".join(f"        {line}\n" for line in body) + _REVERSE.format(g=g)
            for suffix, tail in (("", ""), ("_timing", _TIMING)):
                functions.append(
                    _FUNCTION.format(
                        name=f"{kind}{suffix}_{width}", width=width, count=params + 4, body=constants + loop + tail
                    )
                )
    return _MODULE.format(functions="".join(functions), compiled_with=_compiled_with())


@cache
def _compiled_with() -> str:
    """Of what numba compiles into a formula: its cache knows the formula's own file only."""
    files = (Path(__file__).with_name(name).read_bytes() for name in ("vector.py", "rows.py"))
    return hashlib.sha256(b"".join(files)).hexdigest()[:16]


_MODULE = '''"""A gradient method's formula as compiled loops; made by snnrun, safe to delete.

Of vector.py and rows.py as of {compiled_with}.
"""

import math
from functools import lru_cache

import numpy as np
from numba import carray, cfunc, types

from snnrun.kernels.cpu.rows import BIAS, DEP, E1, E2, GI, GS, GT, H, MIN_SLOPE, ROWS
from snnrun.kernels.cpu.vector import FASTMATH, exp, power

f32 = np.float32
_signature = types.void(*[types.CPointer(types.float32)] * 4)
_compile = cfunc(_signature, cache=True, fastmath=FASTMATH, error_model="numpy")

{functions}

@lru_cache(maxsize=None)
def function(kind, width):
    return _compile(globals()[f"{{kind}}_{{width}}"])
'''

_FUNCTION = """
def {name}(rows_pointer, params_pointer, v_pointer, before_pointer):
    rows = carray(rows_pointer, (ROWS, {width}))
    params = carray(params_pointer, ({count},))
    potential, potential_before = carray(v_pointer, ({width},)), carray(before_pointer, ({width},))
    alpha_v, alpha_i, beta, beta_alpha_i = params[0], params[1], params[2], params[3]
{body}
"""

_SLOPE = """        before = potential_before[j]
        rise = v - (before if before < f32(1) else f32(0))
        slope = MIN_SLOPE if rise < MIN_SLOPE else rise
"""
_HEAD = {
    "quiet": """    for j in range(rows.shape[1]):
        gs = rows[GS, j]
        gt = f32(0)
        v = potential[j]
        s = f32(0)
        kept = f32(1)
"""
    + _SLOPE,
    "spiking": """    for j in range(rows.shape[1]):
        gs = rows[GS, j]
        gt = rows[GT, j]
        v = potential[j]
        s = f32(1) if v >= f32(1) else f32(0)
        kept = f32(1) - s
"""
    + _SLOPE,
}
_REVERSE = """        g = {g}
        dep = g + alpha_v * kept * rows[DEP, j]
        rows[DEP, j] = dep
        rows[GI, j] = beta * dep + alpha_i * kept * rows[GI, j]
        rows[BIAS, j] += dep
"""
_TIMING = """        h = f32(0.5) * g
        e1 = kept * (rows[H, j] + alpha_v * rows[E1, j]) - alpha_v * h
        rows[E1, j] = e1
        rows[E2, j] = alpha_i * kept * rows[E2, j] + beta * e1 - beta_alpha_i * h
        rows[H, j] = h
"""

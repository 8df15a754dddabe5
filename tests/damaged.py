"""Files as a bad disk, a bad network or a bad person leaves them."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

MOST_BYTES, MOST_SECONDS = 2 << 30, 10.0


class Content(bytes):
    """Bytes that a failing test names by their number and start."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {self[:400].hex()}>"


@st.composite
def damage(draw: st.DrawFn, whole: bytes) -> bytes:
    """What is left of a file: bytes of it changed, cut off, doubled, filled in; or nothing of it."""
    kind = draw(st.sampled_from(["flip", "flip", "overwrite", "cut", "double", "junk", "header", "empty", "zeros"]))
    content = bytearray(whole)
    if kind == "flip":
        for _ in range(draw(st.integers(1, 8))):
            content[draw(st.integers(0, len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    elif kind == "overwrite":
        start, new = draw(st.integers(0, len(content) - 1)), draw(st.binary(min_size=1, max_size=64))
        content[start : start + len(new)] = new
    elif kind == "cut":
        del content[draw(st.integers(0, len(content) - 1)) :]
    elif kind == "double":
        start = draw(st.integers(0, len(content)))
        content[start:start] = content[: draw(st.integers(0, 4096))]
    elif kind == "header":
        new = draw(st.binary(min_size=1, max_size=16))
        content[: len(new)] = new
    elif kind == "zeros":
        content = bytearray(draw(st.integers(0, 200)))
    else:
        content = bytearray(draw(st.binary(max_size=300)) if kind == "junk" else b"")
    return Content(content)


class Tried:
    """Inputs tried: how they ended, the slowest, and the peak of this process's memory."""

    def __init__(self, what: str) -> None:
        self.what, self.ends, self.slowest_s = what, Counter[str](), 0.0

    def each(self, inputs: st.SearchStrategy[Any], examples: int, attempt: Callable[[Any], str]) -> None:
        """Try so many inputs; ``attempt`` says how one ended, and raises where that is not as promised."""

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(content=inputs)
        def run(content: Any) -> None:
            started = time.process_time()
            self.ends[attempt(content)] += 1
            seconds = time.process_time() - started
            self.slowest_s = max(self.slowest_s, seconds)
            assert seconds < MOST_SECONDS, f"{seconds:.1f} s"

        run()
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        total = sum(self.ends.values())
        print(f"{self.what}: {total} inputs, {dict(self.ends)}, at most {self.slowest_s:.2f} s, peak {peak >> 20} MB")
        assert peak < MOST_BYTES

"""Where snnrun keeps what it can make again: packed recordings, compiled formulas."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """$SNNRUN_CACHE, else ~/.cache/snnrun."""
    return Path(os.environ.get("SNNRUN_CACHE") or "~/.cache/snnrun").expanduser()

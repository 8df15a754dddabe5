"""Where snnrun keeps what it can make again: packed recordings, compiled formulas."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def cache_root() -> Path:
    """$SNNRUN_CACHE, else ~/.cache/snnrun."""
    return Path(os.environ.get("SNNRUN_CACHE") or "~/.cache/snnrun").expanduser()


def is_private(folder: Path) -> bool:
    """Whether strangers cannot put files into a folder whose files are run: generated source, numba's pickled index.

    The folder and all that hold it must belong to the user or to root, and be writable by no others than the user's own
    group; a sticky bit, as on /tmp, keeps others from replacing what they do not own. Systems without user ids have no
    say in this.
    """
    if not hasattr(os, "getuid"):
        return True
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        status = place.stat()
        by_others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != os.getgid())
        sticky = place != folder and status.st_mode & stat.S_ISVTX
        if status.st_uid not in (0, os.getuid()) or (by_others and not sticky):
            return False
    return True

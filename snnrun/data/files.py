"""Opening files that anybody may have put there: regular ones, of a bounded size."""

from __future__ import annotations

import stat
from pathlib import Path

from snnrun.errors import UserError


def refuse_odd(path: Path, most_bytes: int, hint: str) -> None:
    """Look at a file before it is read: a pipe would be waited for, a device never ends, a sparse file fills memory.

    Raises:
        UserError: it is no regular file, or larger than any that belongs there.
        OSError: it cannot be looked at.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is not a file", hint)
    if status.st_size > most_bytes:
        raise UserError(f"{path} is damaged: {status.st_size / 1e6:,.0f} MB are more than can belong there", hint)

"""Files written whole or not at all; what the disk refuses becomes one clear line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snnrun.errors import OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write(path: Path, content: bytes) -> None:
    """Write to a temporary name, flush to disk, rename: readers see the old content or the new, never a part.

    The folder must exist: one that was deleted under a run is not made again.

    Raises:
        OutputError: full disk, no permission, folder gone; the previous content stays.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with told(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Around whatever writes ``path``: an OSError becomes an OutputError that names it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            hint = "Make room, then go on from the last checkpoint by resume=RUN_DIR"
        elif error.errno == errno.ENOENT:
            hint = "Its folder was moved or deleted"
        else:
            hint = "Make its folder writable, then go on from the last checkpoint by resume=RUN_DIR"
        raise OutputError(f"{path} cannot be written ({reason})", hint) from None


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk: what was written or renamed survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

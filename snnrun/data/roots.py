"""Where data lies and where packed copies of it go."""

from __future__ import annotations

import os
from pathlib import Path

from snnrun.errors import UserError

_HOME = "~/.cache/snnrun"


def data_root(root: str | None) -> Path:
    """``dataset.root``, else $SNNRUN_DATA, else ~/.cache/snnrun.

    Raises:
        UserError: a folder that was named explicitly does not exist.
    """
    if root is None:
        return Path(os.environ.get("SNNRUN_DATA") or _HOME).expanduser()
    path = Path(root).expanduser()
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise UserError(f"dataset.root={root} {what}", "Name the folder that holds MNIST/, NMNIST/ ... or leave it out")
    return path

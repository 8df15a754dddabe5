"""Downloads through tonic: whole data sets or nothing, one process for all that wait."""

from __future__ import annotations

import shutil
import urllib.error
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock

from snnrun.data.archives import strict_tonic
from snnrun.data.download import reason
from snnrun.data.report import Reporter
from snnrun.errors import UserError


def fetch_with_tonic(
    name: str,
    folder: Path,
    parts: Mapping[str, Callable[[str], object]],
    urls: Sequence[str],
    layout: Sequence[str],
    report: Reporter,
) -> None:
    """Have tonic fetch, verify and unpack all parts beside ``folder``, and move them there when all are whole.

    Does nothing where one of the parts is there: the rest is then missing, not to be fetched behind the user's back.

    Args:
        name: for people.
        folder: named as the data set is in tonic.
        parts: file or folder that holds a part ("": all of ``folder``): what makes tonic save that part below the
            folder that it is given.
        layout: files that would do, relative to ``folder``, for a machine without network.

    Raises:
        UserError: no network, another content than published, no space.
    """
    if any((folder / part).exists() for part in parts):
        return
    with failures_told(name, folder, urls, layout):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not any((folder / part).exists() for part in parts):  # another process may have been faster
                _fetch(name, folder, parts, report)


@contextmanager
def failures_told(name: str, folder: Path, urls: Sequence[str], layout: Sequence[str]) -> Iterator[None]:
    """Turn what tonic raises where it cannot download into one line with the URLs and the layout to be filled in."""
    try:
        with strict_tonic():
            yield
    except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError, RuntimeError) as error:
        raise UserError(
            f"{name} is not in {folder} and cannot be downloaded from {' and '.join(urls)} ({reason(error)})",
            f"Fill it by hand: {' and '.join(f'{folder}/{file}' for file in layout)}",
        ) from None
    except OSError as error:
        raise UserError(f"cannot write {folder} ({error.strerror or error})", "Choose another dataset.root") from None


def _fetch(name: str, folder: Path, parts: Mapping[str, Callable[[str], object]], report: Reporter) -> None:
    # One name for every process: the lock keeps them apart, and what a killed one left is removed here.
    temporary = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for part, save in parts.items():
            report.note(f"{name}: downloading {part} (tonic shows the progress)")
            save(str(temporary))
        folder.mkdir(exist_ok=True)
        for part in parts:
            (temporary / folder.name / part).replace(folder / part)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

"""Downloads: with progress, verified, and whole or not at all."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock

from snnrun.data.report import Reporter
from snnrun.errors import UserError

_CHUNK = 1 << 16
_TIMEOUT_S = 30


def fetch(url: str, target: Path, md5: str, layout: str, report: Reporter) -> None:
    """Download ``url`` to ``target`` unless it is there; processes that want the same file wait for the first.

    Args:
        md5: of the file as published.
        layout: what to put where by hand, for a machine without network.

    Raises:
        UserError: no network, no such file there, another content than published. No part of the file is left behind.
    """
    if target.exists():
        return
    by_hand = f"Without network, fill {target.parent} by hand: {layout}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if not target.exists():
                _fetch(url, target, md5, by_hand, report)
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror or error})", "Choose another dataset.root") from None


def _fetch(url: str, target: Path, md5: str, by_hand: str, report: Reporter) -> None:
    # One name for every process: the lock keeps them apart, and what a killed one left is overwritten.
    temporary = target.with_name(f"{target.name}.part")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with temporary.open("wb") as file, closing(_chunks(url, target.name, by_hand, report)) as chunks:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != md5:
            raise UserError(f"{url} is not what was published (md5 {digest.hexdigest()}, expected {md5})", by_hand)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _chunks(url: str, name: str, by_hand: str, report: Reporter) -> Generator[bytes]:
    """The content of ``url`` piece by piece; a generator, so that an error caught in here is the network's, never the
    disk's."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            if url.startswith("https:") and not response.url.startswith("https:"):
                raise ConnectionError(f"it was redirected to {response.url}, which is not https")
            size, received = int(response.headers.get("Content-Length") or 0), 0
            with report.progress(f"downloading {name}", size, "B") as advance:
                while chunk := response.read(_CHUNK):
                    yield chunk
                    received += len(chunk)
                    advance(len(chunk))
            if received < size:  # read() in pieces does not say that the connection broke
                raise ConnectionError(f"it ended after {received:,} of {size:,} bytes")
    except (OSError, HTTPException) as error:  # URLError, timeouts and TLS errors are OSErrors
        raise UserError(f"cannot download {url} ({reason(error)})", by_hand) from None


def reason(error: Exception) -> str:
    """What the network did, in few words."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the server's answer as well and holds the connection
        return str(error)
    return str(getattr(error, "reason", None) or error)

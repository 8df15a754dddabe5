"""Downloads: with progress, verified, and whole or not at all."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
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
        UserError: no network, no such file there, another content than published. Nothing is left behind.
    """
    if target.exists():
        return
    by_hand = f"Without network, fill {target.parent} by hand: {layout}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock")):
            if not target.exists():
                _fetch(url, target, md5, report)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"cannot download {url} ({reason})", by_hand) from None
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror or error})", "Choose another dataset.root") from None


def _fetch(url: str, target: Path, md5: str, report: Reporter) -> None:
    temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, temporary.open("wb") as file:
            size = int(response.headers.get("Content-Length") or 0)
            with report.progress(f"downloading {target.name}", size, "B") as advance:
                while chunk := response.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
                    advance(len(chunk))
        if digest.hexdigest() != md5:
            raise UserError(
                f"{url} does not hold what was published (md5 {digest.hexdigest()}, expected {md5})",
                "Try again, or get the file elsewhere",
            )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)

"""tonic's downloads, held to our promises: never http for https, no archive that writes outside its folder."""

from __future__ import annotations

import tarfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HERE = ("127.0.0.1", "localhost", "::1")


@contextmanager
def strict_tonic() -> Iterator[None]:
    """Around whatever makes tonic download and unpack.

    Inside, a download that fails by https is not tried again by http, which is tonic's way, and tar archives are
    unpacked by the ``data`` filter (PEP 706: no absolute names, no ``..``, no links to the outside, no devices), which
    Python before 3.14 leaves out. Zip files are safe as Python unpacks them: names stay below, links become files.

    Raises:
        ConnectionError: from inside, in place of the fall back to http.
        RuntimeError: from inside, where an archive would write outside its folder.
    """
    from tonic import download_utils

    retrieve, extractors = download_utils._urlretrieve, dict(download_utils._ARCHIVE_EXTRACTORS)

    def by_https(url: str, filename: str, *arguments: Any) -> None:
        parts = urllib.parse.urlparse(url)
        if parts.scheme != "https" and parts.hostname not in _HERE:
            Path(filename).unlink(missing_ok=True)
            raise ConnectionError(f"the download by https failed, and {parts.scheme} is not taken")
        retrieve(url, filename, *arguments)

    download_utils._urlretrieve = by_https
    download_utils._ARCHIVE_EXTRACTORS[".tar"] = _extract_tar
    try:
        yield
    finally:
        download_utils._urlretrieve = retrieve
        download_utils._ARCHIVE_EXTRACTORS.update(extractors)


def _extract_tar(from_path: str, to_path: str, compression: str | None) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError("this Python cannot unpack archives safely, 3.11.4 and later can")
    try:
        with tarfile.open(from_path, f"r:{compression[1:]}" if compression else "r") as archive:  # type: ignore[call-overload]
            archive.extractall(to_path, filter="data")
    except tarfile.TarError as error:
        raise RuntimeError(f"{from_path} cannot be unpacked: {error}") from None

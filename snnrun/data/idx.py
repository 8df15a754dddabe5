"""IDX, the file format of MNIST: magic number, dimensions, unsigned bytes."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from snnrun.data.files import refuse_odd
from snnrun.errors import UserError

_UNSIGNED_BYTES = 0x08
_MOST_BYTES = 1 << 28  # five times the largest here: a small .gz must not unpack to more
_MEND = "Replace it, or delete it to have it downloaded again"


def read_bytes(path: Path) -> bytes:
    """Content of a file, unpacked if its name ends in .gz.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    try:
        refuse_odd(path, _MOST_BYTES, _MEND)
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path, "rb") as file:
            content = file.read(_MOST_BYTES)
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise UserError(f"{path} cannot be read ({error})", _MEND) from None
    return content


def parse_idx(content: bytes, path: Path, dimensions: int) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, uint8 with ``dimensions`` axes.

    Raises:
        UserError: bad magic number, wrong dimensions, fewer or more bytes than the header says.
    """
    header = 4 + 4 * dimensions
    if len(content) < header or content[:3] != bytes((0, 0, _UNSIGNED_BYTES)) or content[3] != dimensions:
        raise UserError(
            f"{path} is not an IDX file of unsigned bytes with {dimensions} dimensions (magic number)", _MEND
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    size = int(np.prod(shape, dtype=np.float64))
    if len(content) - header != size:
        raise UserError(
            f"{path} is damaged: its header says {'x'.join(map(str, shape))} bytes, it holds {len(content) - header}",
            _MEND,
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)

"""IDX, the format of the MNIST files: a big-endian header and then the bytes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from probae.errors import DataError

UNSIGNED_BYTES = b"\0\0\x08"


def read_idx(path: Path) -> np.ndarray:
    """The read-only uint8 array in an IDX file, gzipped (its name ends in .gz) or not.

    Raises:
        DataError: naming the file, if it cannot be read, is no IDX file of bytes, or is truncated or too long.

    Source: Y. LeCun, http://yann.lecun.com/exdb/mnist, "File formats for the MNIST database".
    """
    content = _bytes(path)
    if len(content) < 4 or content[:3] != UNSIGNED_BYTES:
        raise DataError(str(path), "an IDX file of unsigned bytes", f"a file that starts with {content[:4]!r}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(str(path), f"a header of {start} bytes", f"{len(content)} bytes: the file is truncated")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", content[3], offset=4))
    expected, found = start + int(np.prod(shape, dtype=object)), len(content)
    if found != expected:
        state = "truncated" if found < expected else "too long"
        raise DataError(str(path), f"{expected} bytes for shape {shape}", f"{found} bytes: the file is {state}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(str(path), "a readable IDX file", f"{type(error).__name__}: {error}") from error

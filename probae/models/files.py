"""Files that are read warily, and written so that neither a failure nor a crash leaves half of one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def read(path: Path, limit: int) -> bytes:
    """The content of a regular file; of a pipe, which would hang, or of more than `limit` bytes it reads nothing.

    Raises:
        OSError: for these, as for a file that is missing or may not be read.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is not a regular file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(f"it has {size} bytes, more than {limit}")
        return file.read(size)


def write(path: Path, content: bytes) -> None:
    """Make a new file, which is on the disk when this returns.

    Raises:
        OSError: if there is one of that name, even as a link, or the folder cannot be written to.
    """
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system can; the names only: `write` did so with the contents."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and some file systems of a network sync none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def commit(first: Path, content: bytes, last: Path, reference: bytes) -> None:
    """Write a new file `first` and then, in one atomic step after which it counts, the file `last` that refers to it.

    Whatever fails before that step, nothing new is left.

    Args:
        first: a name of its own, in a folder that exists.
        content: of `first`.
        last: in the same folder, made or replaced.
        reference: the content of `last`.

    Raises:
        OSError: if the folder cannot be written to.
    """
    staged = first.with_name(f".{first.name}.tmp")
    try:
        write(first, content)
        write(staged, reference)
        sync(first.parent)
    except BaseException:
        _remove(staged, first)
        raise
    try:
        os.replace(staged, last)
    except OSError:  # and nothing else: an interrupt may come when the step is already taken
        _remove(staged, first)
        raise
    sync(first.parent)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)

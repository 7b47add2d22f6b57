"""Files of published data sets: where they are looked for, and downloaded and verified when they are nowhere."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from probae.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Archive:
    """One file of a data set.

    Attributes:
        name: its path within a folder of data sets, such as "MNIST/raw/t10k-labels-idx1-ubyte.gz".
        sha256: of the file as its authors published it.
        mirrors: what comes before the last part of the name, to be an address.
        unpacked: what may lie in the folder in its place.
    """

    name: str
    sha256: str
    mirrors: tuple[str, ...]
    unpacked: str | None = None

    def within(self, folder: Path) -> Path | None:
        """Where it lies in the folder, unpacked if it is; None if it does not."""
        candidates = (folder / name for name in (self.unpacked, self.name) if name is not None)
        return next((path for path in candidates if path.exists()), None)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/probae`, or `~/.cache/probae`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "probae"


def located(archives: Sequence[Archive], root: str | Path | None = None) -> list[Path]:
    """The paths of all archives, in the first folder that holds them all.

    These are `root`, the one that the environment variable PROBAE_DATA names, and the cache, into which torchvision
    downloads what it lacks if none of them does. Files that are there already are taken as they are, since some may
    be rebuilt on purpose: who reads them checks what is in them.

    Raises:
        ArgumentError: for a `root` that is no folder.
        DataError: if a file cannot be downloaded, or is not the published one (it is removed).
    """
    if root is not None and not Path(root).expanduser().is_dir():
        raise ArgumentError("root", "a folder", repr(str(root)))
    folders = [Path(place).expanduser() for place in (root, os.environ.get("PROBAE_DATA"), cache_folder()) if place]
    for folder in folders:
        found = [archive.within(folder) for archive in archives]
        if None not in found:
            return [path for path in found if path is not None]
    return [archive.within(folders[-1]) or _downloaded(archive, folders) for archive in archives]


def sha256_of(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal digits.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(str(path), "a readable file", f"{type(error).__name__}: {error}") from error


def _downloaded(archive: Archive, folders: list[Path]) -> Path:
    """The archive in the last of the folders, from the first mirror that has it."""
    failures = []
    for mirror in archive.mirrors:
        address = mirror + Path(archive.name).name
        try:
            return _verified(address, archive, folders[-1] / archive.name)
        except (ImportError, OSError, HTTPException, RuntimeError, DataError) as error:
            failures.append(f"{address}: {type(error).__name__}: {error}")
    expected = f"{archive.name} in {' or '.join(map(str, folders))}, or a download"
    hint = f"Set PROBAE_DATA, or root=, to a folder that holds {archive.unpacked or archive.name}"
    raise DataError("root", expected, "; ".join(failures), hint)


def _verified(address: str, archive: Archive, path: Path) -> Path:
    """Downloads to a private folder, so that nothing that is not whole and verified ever bears the archive's name."""
    from torchvision.datasets.utils import download_url  # slow to import, and needed this once

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as private:
        download_url(address, private, filename=path.name)
        digest = sha256_of(Path(private) / path.name)  # torchvision knows of MD5 only, which can be forged
        if digest != archive.sha256:
            raise DataError(address, f"a file with SHA-256 {archive.sha256}", f"{digest}; it was removed")
        return (Path(private) / path.name).replace(path)

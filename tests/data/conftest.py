"""A web without a network: what torchvision's `download_url` finds is what a test put there."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from urllib.error import URLError

import pytest


class Web(dict[str, bytes | BaseException]):
    """Pages by address; `asked` are the addresses that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def download_url(self, url: str, root: str, filename: str | None = None, md5: str | None = None) -> None:
        self.asked.append(url)
        page = self.get(url, URLError("no route to host"))
        path = Path(root) / (filename or url.rpartition("/")[2])
        path.write_bytes(page if isinstance(page, bytes) else b"half of it")
        if not isinstance(page, bytes):
            raise page


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Web:
    """Nothing is to be had at first; the cache is empty, and PROBAE_DATA not set."""
    web = Web()
    fake = types.ModuleType("torchvision.datasets.utils")
    fake.download_url = web.download_url  # pyright: ignore[reportAttributeAccessIssue]
    for name in ("torchvision", "torchvision.datasets"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "torchvision.datasets.utils", fake)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PROBAE_DATA", raising=False)
    return web

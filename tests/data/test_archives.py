"""Laws of published files: where they are looked for, and that nothing unverified is ever left behind."""

from __future__ import annotations

import hashlib
from http.client import IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from probae.data.archives import Archive, cache_folder, located, sha256_of
from probae.errors import ArgumentError, DataError
from tests.data.conftest import Web

PAGE = b"the true content"
FIRST, SECOND = "https://one.example/", "https://two.example/files/"
ARCHIVE = Archive("set/raw/a.gz", hashlib.sha256(PAGE).hexdigest(), (FIRST, SECOND), "set/raw/a")
OTHER = Archive("set/b.zip", hashlib.sha256(PAGE).hexdigest(), (FIRST,))


def put(folder: Path, name: str, content: bytes = b"anything") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def everything_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_root_comes_before_the_environment_and_that_before_the_cache(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, environment = tmp_path / "root", tmp_path / "environment"
    in_cache = put(cache_folder(), ARCHIVE.name)
    assert located([ARCHIVE]) == [in_cache]
    in_environment = put(environment, ARCHIVE.name)
    monkeypatch.setenv("PROBAE_DATA", str(environment))
    assert located([ARCHIVE]) == [in_environment]
    root.mkdir()
    assert located([ARCHIVE], root) == [in_environment]
    in_root = put(root, ARCHIVE.name)
    assert located([ARCHIVE], root) == located([ARCHIVE], str(root)) == [in_root]
    assert web.asked == [], "a file that is there is taken as it is"
    assert sha256_of(in_root) != ARCHIVE.sha256


def test_a_folder_must_hold_all_files(web: Web, tmp_path: Path) -> None:
    put(tmp_path, ARCHIVE.name)
    web.update({FIRST + "a.gz": PAGE, FIRST + "b.zip": PAGE})
    assert located([ARCHIVE, OTHER], tmp_path) == [cache_folder() / ARCHIVE.name, cache_folder() / OTHER.name]


def test_what_is_unpacked_comes_before_its_archive(web: Web, tmp_path: Path) -> None:
    put(tmp_path, ARCHIVE.name)
    unpacked = put(tmp_path, "set/raw/a")
    assert located([ARCHIVE], tmp_path) == [unpacked]


@pytest.mark.usefixtures("web")
def test_the_cache_is_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache" / "probae"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path.home() / ".cache" / "probae"


def test_a_download_is_made_once_and_only_of_what_the_cache_lacks(web: Web, tmp_path: Path) -> None:
    web[FIRST + "a.gz"] = PAGE
    there = put(cache_folder(), OTHER.name)
    for _ in range(2):
        path, other = located([ARCHIVE, OTHER])
        assert (path, other) == (cache_folder() / ARCHIVE.name, there)
        assert path.read_bytes() == PAGE
    assert web.asked == [FIRST + "a.gz"]
    assert everything_in(cache_folder()) == [there, cache_folder() / ARCHIVE.name], "no temporary file is left"


@pytest.mark.parametrize("page", [b"forged", b"", OSError("disk"), IncompleteRead(b"x"), RuntimeError("gone")])
def test_the_second_mirror_stands_in_for_the_first(web: Web, page: Any) -> None:
    web.update({FIRST + "a.gz": page, SECOND + "a.gz": PAGE})
    assert located([ARCHIVE])[0].read_bytes() == PAGE
    assert web.asked == [FIRST + "a.gz", SECOND + "a.gz"]


def test_a_forged_download_is_refused_and_removed(web: Web) -> None:
    web.update({FIRST + "a.gz": b"forged", SECOND + "a.gz": PAGE[:-1]})
    with pytest.raises(DataError, match=rf"^root: .*one\.example/a\.gz: expected .* {ARCHIVE.sha256}") as caught:
        located([ARCHIVE])
    assert hashlib.sha256(b"forged").hexdigest() in str(caught.value)
    assert f"{SECOND}a.gz" in str(caught.value)
    assert everything_in(cache_folder()) == []


def test_without_a_network_the_error_says_where_it_looked(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBAE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"no route to host.*Set PROBAE_DATA, or root=, .* holds set/raw/a") as caught:
        located([ARCHIVE], tmp_path)
    for place in (tmp_path, tmp_path / "nowhere", cache_folder()):
        assert f"{place} or" in str(caught.value) or f"{place}, or a download" in str(caught.value)
    assert everything_in(cache_folder()) == []


def test_an_interrupted_download_leaves_nothing(web: Web) -> None:
    web[FIRST + "a.gz"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        located([ARCHIVE])
    assert everything_in(cache_folder()) == []


@pytest.mark.usefixtures("web")
def test_a_cache_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    put(tmp_path, "cache", b"a file where the folder should be")
    with pytest.raises(DataError, match=r"^root: .*(NotADirectoryError|FileExistsError)"):
        located([ARCHIVE])


@pytest.mark.usefixtures("web")
def test_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^root: expected a folder"):
        located([ARCHIVE], tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing: expected a readable file"):
        sha256_of(tmp_path / "missing")


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE if self.path.startswith("/true") else PAGE[::-1])

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_torchvision_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, from this machine itself: a forged file from the first mirror, then the true one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        mirrors = tuple(f"http://127.0.0.1:{server.server_address[1]}/{kind}/" for kind in ("forged", "true"))
        try:
            (path,) = located([Archive("a", ARCHIVE.sha256, mirrors)])
        finally:
            server.shutdown()
    assert path.read_bytes() == PAGE
    assert everything_in(tmp_path) == [path]

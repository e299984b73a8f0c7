"""Downloads from a server on this machine: resumed, verified, and tried only for what is not at hand."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_sets import (
    SIZE,
    LoadArguments,
    arrays,
    message,
    place_mnist,
    registered,
    write_idx,
)

from harness.data import DataError, archives, download, load


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadArguments:
    return place_mnist(tmp_path, monkeypatch)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `content`; records the ranges asked for; can break off after some bytes or ignore ranges."""

    content = b""
    break_after: int | None = None
    ranges: bool = True
    asked: list[str | None]

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        asked = self.headers["Range"]
        self.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        body = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.break_after])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    class Served(Handler):
        content = np.random.default_rng(0).bytes(3_000_000)
        asked: list[str | None] = []  # noqa: RUF012

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/file.gz", Served
        running.shutdown()
        thread.join()


def fetch(url: str, served: type[Handler], target: Path) -> None:
    download.fetch(url, len(served.content), hashlib.sha256(served.content).hexdigest(), target)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_resumed(tmp_path: Path, server, ranges: bool) -> None:
    url, served = server
    target = tmp_path / "deep/file.gz"
    served.break_after, served.ranges = 2_000_000, ranges
    with pytest.raises(download.requests.RequestException):
        fetch(url, served, target)
    assert not target.exists()
    served.break_after = None
    kept = target.with_name("file.gz.part").stat().st_size
    assert kept > 0
    fetch(url, served, target)
    assert served.asked == [None, f"bytes={kept}-"]
    assert target.read_bytes() == served.content
    assert not target.with_name("file.gz.part").exists()


def test_a_download_with_other_bytes_is_refused_and_deleted(tmp_path: Path, server) -> None:
    url, served = server
    with pytest.raises(DataError) as error:
        download.fetch(url, len(served.content), "0" * 64, tmp_path / "file.gz")
    assert "0" * 64 in message(error)
    assert hashlib.sha256(served.content).hexdigest() in message(error)
    assert [path.name for path in tmp_path.iterdir()] == ["file.gz.lock"]


def test_a_set_is_downloaded_once_into_a_folder_of_its_own(tmp_path: Path, server, monkeypatch) -> None:
    url, served = server
    paths = write_idx(tmp_path / "data/downloads/manual/mnist", arrays())
    known = tuple(registered(path, url) for path in paths.values())
    monkeypatch.setattr(archives, "registry", lambda _: known)
    absent = paths["train-images-idx3-ubyte.gz"]
    served.content = absent.read_bytes()
    absent.unlink()
    folders = {"data_dir": str(tmp_path / "data"), "validation_size": SIZE}
    loaded = load("mnist", **folders, cache_dir=str(tmp_path / "one"))
    assert (tmp_path / "data/downloads/mnist" / absent.name).read_bytes() == served.content
    assert load("mnist", **folders, cache_dir=str(tmp_path / "two")).fingerprint == loaded.fingerprint
    assert len(served.asked) == 1
    assert loaded.official


def test_an_address_that_is_gone_is_the_missing_error(tmp_path: Path, mnist, server, monkeypatch) -> None:
    (tmp_path / "data/downloads/manual/mnist/t10k-labels-idx1-ubyte.gz").unlink()
    url = server[0].replace("/file.gz", "/gone")
    gone = tuple(archives.Archive(url, a.size, a.sha256, a.filename) for a in archives.registry("mnist"))
    monkeypatch.setattr(archives, "registry", lambda _: gone)
    with pytest.raises(DataError, match=r"mnist is missing: .*t10k-labels.*\(404\)"):
        load("mnist", **mnist)


def test_a_disk_that_fills_up_keeps_what_has_come_and_is_told(small_disk, server) -> None:
    """Once there is room the rest is asked for."""
    url, served = server
    served.content = served.content[:600_000]
    target = small_disk.folder / "file.gz"
    small_disk.fill(free=200_000)
    with pytest.raises(OSError, match="No space left on device"):
        fetch(url, served, target)
    assert not target.exists()
    small_disk.clear()
    fetch(url, served, target)
    assert target.read_bytes() == served.content
    assert served.asked[0] is None
    assert served.asked[1].startswith("bytes=")

"""A pinned wheel from a real server on this machine: resumed, checked, and never half there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from steer.disk.wheel import Wheel, download
from steer.errors import FetchError

CONTENT = bytes(range(256)) * 4096
NAME = "thing-1.0-py3-none-any.whl"


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `breaks`: bytes after which the next answer ends; `asked`: the ranges."""

    breaks: int | None = None
    asked: list[str | None]
    ranges = True


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if not self.path.endswith(NAME):
            self.send_error(404)
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and self.server.ranges else 0
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        breaks, self.server.breaks = self.server.breaks, None
        self.wfile.write(body[:breaks])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("PIP_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def wheel(server: Server) -> Wheel:
    url = f"http://127.0.0.1:{server.server_port}/{NAME}"
    return Wheel("thing==1.0", url, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_it_is_fetched_once(server: Server, wheel: Wheel, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = download(wheel, tmp_path, lambda what, done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert download(wheel, tmp_path) == path
    assert server.asked == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(
    ranges: bool, server: Server, wheel: Wheel, tmp_path: Path
) -> None:
    server.breaks, server.ranges = 300_000, ranges
    with pytest.raises(FetchError, match=r"could not download thing==1\.0"):
        download(wheel, tmp_path)
    (part,) = tmp_path.iterdir()
    assert part.read_bytes() == CONTENT[: part.stat().st_size]
    got = part.stat().st_size
    assert 0 < got <= 300_000
    assert download(wheel, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={got}-"]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_another_checksum_leaves_nothing(server: Server, wheel: Wheel, tmp_path: Path) -> None:
    other = Wheel(wheel.package, wheel.url, wheel.size, "0" * 64)
    with pytest.raises(FetchError, match=f"wrong checksum for {NAME}"):
        download(other, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_part_is_not_kept_for_ever(server: Server, wheel: Wheel, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 1000)
    with pytest.raises(FetchError, match="wrong checksum"):
        download(wheel, tmp_path)
    assert download(wheel, tmp_path).read_bytes() == CONTENT


def test_a_file_that_is_not_there(server: Server, wheel: Wheel, tmp_path: Path) -> None:
    gone = Wheel(wheel.package, wheel.url.replace(NAME, "other.whl"), wheel.size, wheel.sha256)
    with pytest.raises(FetchError, match=r"Not Found \(http://127.*mirror, set PIP_INDEX_URL"):
        download(gone, tmp_path)


def test_a_server_that_is_not_there(server: Server, wheel: Wheel, tmp_path: Path) -> None:
    gone = Wheel(wheel.package, "http://127.0.0.1:9/thing.whl", wheel.size, wheel.sha256)
    with pytest.raises(FetchError, match="Check the network"):
        download(gone, tmp_path)


def test_a_configured_index_is_asked_instead(
    server: Server, wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(FetchError, match=r"thing==1\.0: .*the index that pip is configured with"):
        download(wheel, tmp_path)
    assert server.asked == []

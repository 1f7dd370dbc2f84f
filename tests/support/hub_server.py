"""A hub on 127.0.0.1 that speaks the hub's own protocol, for what a cache on disk can't show."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.support.hub_cache import COMMIT


@dataclass
class Hub:
    """One repository: the files of a folder, at one commit.

    cut: the next download breaks off after so many bytes.
    served: (path, first byte, bytes sent) of each download.
    """

    repo: str
    files: Path
    cut: int | None = None
    served: list[tuple[str, int, int]] = field(default_factory=list)
    address: str = ""

    def paths(self) -> list[str]:
        return sorted(p.relative_to(self.files).as_posix() for p in self.files.rglob("*.*"))


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """The hub while the block lasts; `hub.address` is its HF_ENDPOINT."""

    class Handler(_Handler):
        served_hub = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served_hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub, path = self.served_hub, unquote(self.path.partition("?")[0])
        if path in (f"/api/models/{hub.repo}/revision/{name}" for name in ("main", COMMIT)):
            siblings = [{"rfilename": name} for name in hub.paths()]
            return self._json({"id": hub.repo, "sha": COMMIT, "siblings": siblings})
        if path == f"/api/models/{hub.repo}/tree/{COMMIT}":
            return self._json([self._entry(name) for name in hub.paths()])
        for name in hub.paths():
            if path == f"/{hub.repo}/resolve/{COMMIT}/{name}":
                return self._file(name, body)
        return self._missing(path)

    def _entry(self, name: str) -> dict[str, object]:
        size = (self.served_hub.files / name).stat().st_size
        return {"type": "file", "path": name, "size": size, "oid": _digest(name)}

    def _json(self, data: object) -> None:
        text = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _missing(self, path: str) -> None:
        known = path.startswith(f"/api/models/{self.served_hub.repo}/")
        self.send_response(404)
        self.send_header("X-Error-Code", "RevisionNotFound" if known else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, name: str, body: bool) -> None:
        hub, data = self.served_hub, (self.served_hub.files / name).read_bytes()
        asked = self.headers.get("Range", "bytes=0-")
        first = int(asked.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if first else 200)
        self.send_header("ETag", f'"{_digest(name)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not body:
            return
        part = data[first:]
        if hub.cut is not None and len(part) > hub.cut:
            part, hub.cut = part[: hub.cut], None
            self.close_connection = True
        hub.served.append((name, first, len(part)))
        self.wfile.write(part)


def _digest(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()

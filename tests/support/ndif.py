"""A server of a tiny model that speaks the part of NDIF's protocol that is used without waiting.

POST /request takes a job (as multipart: `data` is JSON, `blob` the job), GET /response/ID says how
far it is, and GET /result/ID gives what it saved. Jobs are run when they come, for real.
"""

from __future__ import annotations

import io
import json
import linecache
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from weakref import WeakValueDictionary

import cloudpickle.cloudpickle as pickled
import torch
import zstandard
from nnsight.schema.request import RequestModel
from nnsight.tracing.backend import Backend
from nnsight.tracing.tracer import dec, inc

import steer
from steer.model import Model
from tests.support import tiny

HUB = "tests/tiny"
"""The hub id of the model that it has; `nnsight.modeling.huggingface._ID_CACHE` has to know it."""


def known(dtype: str = "float32") -> Model:
    """A tiny model as if it had been loaded by its hub id; not the one that tests share."""
    built = tiny.build("llama").to(getattr(torch, dtype))
    model = steer.load(built, tokenizer=tiny.tokenizer())
    model.nn.repo_id = HUB
    return model


class _Saved(dict[str, Any]):
    """A frame's names, and apart those that the job saved."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        super().__init__(names)
        self.pushed: dict[str, Any] = {}

    def update(self, names: Any = (), **_: Any) -> None:
        self.pushed.update(names)
        super().update(names)


@contextmanager
def _stranger() -> Iterator[None]:
    """While entered, classes that come by value are made anew, as in a process that never saw them;
    else those of this process would be filled with what comes."""
    tracked = pickled._DYNAMIC_CLASS_TRACKER_BY_ID
    pickled._DYNAMIC_CLASS_TRACKER_BY_ID = WeakValueDictionary()
    try:
        yield
    finally:
        pickled._DYNAMIC_CLASS_TRACKER_BY_ID = tracked


@dataclass
class Ndif:
    """results: of the jobs that it knows. taken: how many it was ever sent. running: says that none
    is done. failing: the reason for which all fail. down: answers nobody who asks. patience: how
    many results it gives before it goes down. lost: has no results any more, and says that jobs are
    done. damaged: gives results that are cut off."""

    model: Model
    url: str = ""
    results: dict[str, bytes] = field(default_factory=dict)
    taken: int = 0
    running: bool = False
    failing: str = ""
    down: bool = False
    patience: int | None = None
    lost: bool = False
    damaged: bool = False

    def take(self, body: bytes, boundary: bytes) -> dict[str, Any]:
        """A job: it is run, and its result kept."""
        parts = _parts(body, boundary)
        envelope = json.loads(parts["data"])
        assert envelope["model_key"] == self.model.nn.to_model_key()
        assert envelope["compress"]
        self.taken += 1
        name = f"job-{self.taken}"
        self.results[name] = self._run(parts["blob"])
        return {"id": name, "status": "RECEIVED"}

    def tell(self, name: str) -> dict[str, Any]:
        if self.failing:
            return {"id": name, "status": "ERROR", "description": self.failing}
        if self.running:
            return {"id": name, "status": "RUNNING"}
        return {"id": name, "status": "COMPLETED", "data": f"{self.url}/result/{name}"}

    def give(self, name: str) -> bytes:
        if self.patience is not None:
            self.patience -= 1
            self.down = self.patience <= 0
        whole = self.results[name]
        return whole[: len(whole) // 2] if self.damaged else whole

    def _run(self, blob: bytes) -> bytes:
        there = dict(linecache.cache)
        nn = self.model.nn
        with _stranger():
            given = nn._remoteable_persistent_objects()
            tracer = RequestModel.deserialize(blob, given, compress=True)
        linecache.cache.clear()
        linecache.cache.update(there)
        tracer.backend = Backend()
        names = tracer.info.frame.f_locals = _Saved(tracer.info.frame.f_locals)
        inc()
        try:
            with torch.inference_mode():
                tracer.execute(tracer.info.code)
        finally:
            dec()
        written = io.BytesIO()
        torch.save(names.pushed, written)
        return zstandard.ZstdCompressor().compress(written.getvalue())


def _parts(body: bytes, boundary: bytes) -> dict[str, bytes]:
    parts = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        (name,) = re.findall(rb'; name="(\w+)"', head)
        parts[name.decode()] = content[:-2]
    return parts


@contextmanager
def serving(model: Model) -> Iterator[Ndif]:
    """Listening while the block lasts."""
    ndif = Ndif(model)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200, json.dumps(ndif.take(body, boundary)).encode())

        def do_GET(self) -> None:
            _, what, name = self.path.split("/")
            if ndif.down:
                self._answer(503, b"{}")
            elif name not in ndif.results or (what == "result" and ndif.lost):
                self._answer(404, b"{}")
            elif what == "result":
                self._answer(200, ndif.give(name))
            else:
                self._answer(200, json.dumps(ndif.tell(name)).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        ndif.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ndif
        finally:
            server.shutdown()
            thread.join()

"""Starting the server: on this machine alone unless told otherwise."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# nnsight gives every object a `.save`, after which anyio's server classes can't be defined.
import anyio._backends._asyncio  # noqa: F401
import uvicorn

from apps.server.answer.metrics import Metrics
from apps.server.app import make_app
from apps.server.guard import Rules
from apps.server.request.offer import Offer
from apps.server.state import State
from steer.errors import SteerError
from steer.loading import load
from steer.model import Model
from steer.serving.engine import Engine, Limits


@dataclass(frozen=True)
class Settings:
    """model, dictionary, edits: see `Offer`. dtype, device_map, quantization: see `steer.load`.
    port: 0 takes a free one.

    closing: seconds that what is served has to finish when the server is told to end.
    """

    model: str | Model
    dictionary: str | None = None
    edits: Path | None = None
    dtype: str = "float32"
    device_map: str | None = None
    quantization: str | None = None
    port: int = 8000
    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    most_tokens: int = 1024
    closing: float = 10.0


def open_state(settings: Settings) -> State:
    """Model, dictionaries and named edits, loaded and checked, and the engine running."""
    given = settings.model
    if isinstance(given, Model):
        model = given
    else:
        model = load(
            given,
            dtype=settings.dtype,
            device_map=settings.device_map,
            quantization=settings.quantization,
        )
    offer = Offer.of(model, settings.dictionary, settings.edits)
    metrics = Metrics()
    engine = Engine(model, settings.limits, offer.used(), metrics.step)
    metrics.watch(lambda: engine.waiting, lambda: engine.served)
    return State(offer, engine, metrics, settings.most_tokens)


def serve(settings: Settings, announce: bool = False) -> None:
    """Serve until told to end (Ctrl-C, SIGTERM); then finish what is served.

    Prints a line when it listens: for machines, with `announce`, one JSON object.
    Raises `SteerError` for an address that is taken, and what loading raises.
    """
    listening = _listen(settings.rules.host, settings.port)
    with listening:
        state = open_state(settings)
        # The engine's thread holds the interpreter for most of a token: others get it sooner.
        sys.setswitchinterval(0.0005)
        print(_line(state, listening, announce), flush=True)
        config = uvicorn.Config(
            make_app(state, settings.rules, settings.closing),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, int(settings.closing)),
            limit_concurrency=None,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # till then a second process may bind the same port
    except OSError as error:
        listening.close()
        raise SteerError(f"{host}:{port} can't be listened on: {error.strerror}") from error
    return listening


def _line(state: State, listening: socket.socket, announce: bool) -> str:
    host, port = listening.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    about: dict[str, Any] = {
        "url": url,
        "models": state.offer.ids,
        "fingerprint": state.offer.model.fingerprint,
        "dtype": state.offer.model.precision,
        "dictionaries": list(state.offer.dictionaries),
        "pid": os.getpid(),
    }
    if announce:
        return json.dumps(about)
    return f"steer serve: {url}/v1  models: {', '.join(state.offer.ids)}, in {about['dtype']}"

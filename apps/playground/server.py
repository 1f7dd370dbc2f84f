"""The page's server: one address, closed doors around all of it, and nothing left when it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.types import ASGIApp

from apps.playground.api import Api
from apps.playground.handlers import Handlers
from apps.playground.theme import script, styling
from apps.playground.wire import connect
from apps.safety import OwnScripts, guarded
from apps.safety.headers import POLICY
from apps.safety.hosts import LOCAL
from steer.errors import SteerError

ADDRESS = "127.0.0.1"
PORTS = range(7860, 7960)
BACKLOG = 128
TUNNEL = ".gradio.live"
_POLICY = {
    **POLICY,
    "base-uri": "'self'",
    "script-src": "'self' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
}
"""Gradio (6.31) makes functions of text: of the template and the `js_on_load` of every `gr.HTML`
(`js/html/shared/HTML.svelte`, twice `new Function`) and of an event's `js=`
(`js/core/src/dependency.ts`, `new AsyncFunction` in `process_frontend_fn`). It adds `<style>`
elements and `style=` attributes, as the page's own marks do, and names its base."""


class Server:
    """A page that is being served until `close`."""

    def __init__(
        self,
        app: ASGIApp,
        door: socket.socket,
        leave: Callable[[], object],
        offers: Mapping[str, Any],
    ) -> None:
        """leave: called when it is told to end, before it waits for its last answers.

        offers: the model and the dictionaries, as plain data.
        """
        self._leave = leave
        self._offers = offers
        self.share_url: str | None = None
        self.port: int = door.getsockname()[1]
        self.local_url = f"http://{ADDRESS}:{self.port}/"
        config = uvicorn.Config(
            app, log_level="warning", ws="none", timeout_graceful_shutdown=1, server_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [door]}, daemon=True
        )
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise SteerError(
                    f"the server could not start at {self.local_url}; its log says why"
                )
            time.sleep(0.005)

    def __repr__(self) -> str:
        return f"steer app: {self.share_url or self.local_url}"

    def close(self) -> None:
        """Answers nobody any more; what it wrote to disk is gone."""
        self._leave()
        self._server.should_exit = True
        self._thread.join(timeout=10)

    def to_dict(self) -> dict[str, Any]:
        """Where it is, what it offers, and its process: plain data for JSON."""
        url = self.share_url or self.local_url
        return {"url": url, "local_url": self.local_url, **self._offers, "pid": os.getpid()}

    def block_thread(self, announce: bool = False) -> None:
        """Say where it is, and serve until interrupted (Ctrl-C) or told to end (SIGTERM).

        announce: say it for machines, as one JSON object.
        """
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        print(json.dumps(self.to_dict()) if announce else self, flush=True)
        try:
            while self._thread.is_alive() and not ended.wait(0.2):
                pass
        except KeyboardInterrupt:
            pass
        self.close()


def listen(port: int | None = None) -> socket.socket:
    """A port of this machine alone: the one asked for, 0 for any, or the first free from 7860.

    Raises `SteerError` that says why not.
    """
    if port is not None and not 0 <= port <= 65535:
        raise SteerError(f"port {port} is not allowed: 1 to 65535, or 0 for any that is free")
    for number in PORTS if port is None else (port,):
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((ADDRESS, number))
            door.listen(BACKLOG)  # till then a second process may bind the same port
        except OSError as error:
            door.close()
            problem = f"port {number} can't be used ({error.strerror})"
        else:
            return door
    raise SteerError(f"{problem}; leave --port out for the first free one from {PORTS.start}")


def start(
    blocks: gr.Blocks,
    do: Handlers,
    door: socket.socket,
    *,
    allow: Sequence[str] = (),
    share: bool = False,
    password: str | None = None,
) -> Server:
    """Serve the page. allow: other names that it may be asked by.

    Raises `SteerError` for an empty password, or if the tunnel can't be had.
    """
    folder = tempfile.TemporaryDirectory(prefix="steer-app-", ignore_cleanup_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = folder.name  # of this process, not of all of Gradio's
    inside = _inside(blocks, do)
    page: Any = next(route.app for route in inside.routes if isinstance(route, Mount))

    def leave() -> None:
        page.stop_event.set()  # pages that are open wait for it
        folder.cleanup()

    app = guarded(
        OwnScripts(inside, _POLICY, script()),
        hosts=[*LOCAL, *allow, *([TUNNEL] if share else ())],
        keys=[] if password is None else [password],
        people=True,
        policy=_POLICY,
    )
    studio = do.studio
    offers = {
        "model": studio.model.name,
        "dtype": studio.model.precision,
        "dictionaries": list(studio.shelf.names),
    }
    server = Server(app, door, leave, offers)
    if share:
        server.share_url = _tunnel(blocks, server)
    return server


def _inside(blocks: gr.Blocks, do: Handlers) -> FastAPI:
    """Everything that is served: the runs' own way, the tools, and Gradio's page and API."""
    tools = None
    if importlib.util.find_spec("mcp") is not None:
        from apps.playground.tools import tool_server

        tools = tool_server(Api(do.studio))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if tools is None:
            yield
        else:
            async with tools.session_manager.run():
                yield

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    connect(app, do)
    if tools is not None:
        app.router.routes.extend(tools.streamable_http_app().routes)
    return gr.mount_gradio_app(
        app,
        blocks,
        "/",
        max_file_size=1,
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        show_error=True,
        mcp_server=False,
        **styling(),
    )


def _tunnel(blocks: gr.Blocks, server: Server) -> str:
    from gradio.networking import setup_tunnel

    try:
        url = setup_tunnel(ADDRESS, server.port, blocks.share_token, None, None)
    except Exception as error:
        server.close()
        raise SteerError(f"the public tunnel can't be had: {error}") from error
    return url.replace("http://", "https://", 1)


def show(server: Server) -> None:
    """Open it in this machine's browser."""
    webbrowser.open(server.share_url or server.local_url)

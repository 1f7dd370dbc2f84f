"""Starting the server: on this machine alone unless asked otherwise."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

# nnsight gives every object a `.save`, after which anyio's server classes can't be defined.
import anyio._backends._asyncio  # noqa: F401

from apps.playground.studio.apart import apart
from apps.playground.studio.remote import Remote
from apps.playground.studio.studio import Shelf, Studio, offered
from apps.playground.studio.turns import MOST
from dictionaries.dictionary import Dictionary
from steer.errors import SteerError
from steer.lm.default_model import NAME
from steer.loading import load
from steer.model import Model

USER = "steer"
"""Who logs in where there is a password."""


def launch(
    model: str | Model = NAME,
    dictionary: str | None = None,
    port: int | None = None,
    *,
    dtype: str = "float32",
    share: bool = False,
    password: str | None = None,
    dictionaries: Sequence[Dictionary] = (),
    server: str | None = None,
    open_browser: bool = False,
    wait: bool = True,
) -> Any:
    """Serve the page on 127.0.0.1; returns the Gradio app if not told to wait.

    dictionary: the first to offer, a name or a folder; the catalogue's of this model follow.
    dictionaries: objects to offer.
    share: through Gradio's public tunnel; refused without a password.
    server: address of a `steer serve` of the same model that writes the texts.
    Raises `SteerError` for that, and what `load` raises.
    """
    if share and not password:
        raise SteerError("sharing gives everyone this page: set a password too")
    studio = apart(open_studio)(
        model, dictionary, dtype=dtype, dictionaries=dictionaries, server=server
    )
    blocks = serve(studio, port, share=share, password=password, open_browser=open_browser)
    if wait:
        blocks.block_thread()
    return blocks


def open_studio(
    model: str | Model = NAME,
    dictionary: str | None = None,
    *,
    dtype: str = "float32",
    dictionaries: Sequence[Dictionary] = (),
    server: str | None = None,
) -> Studio:
    """Model and dictionaries, loaded; what can be searched is being prepared meanwhile."""
    loaded = model if isinstance(model, Model) else load(model, dtype=dtype)
    names = [] if dictionaries and dictionary is None else offered(loaded.name, dictionary)
    remote = Remote.of(server, loaded) if server else None
    studio = Studio(loaded, Shelf(loaded, names, dictionaries), remote=remote)
    index = studio.shelf.index(studio.default)
    threading.Thread(target=index.warm, daemon=True).start()
    return studio


def serve(
    studio: Studio,
    port: int | None = None,
    *,
    share: bool = False,
    password: str | None = None,
    open_browser: bool = False,
) -> Any:
    """The running Gradio app.

    Python's threads take turns every half millisecond from here on, not every 5: the server's has
    to get a word in, several times a token, while the model's runs.
    """
    _private_folder()
    sys.setswitchinterval(0.0005)
    from apps.playground.handlers import Handlers
    from apps.playground.page import page
    from apps.playground.theme import styling
    from apps.playground.wire import connect

    do = Handlers(studio)
    blocks = page(studio, do)
    blocks.queue(max_size=64, api_open=True)
    with suppress(AttributeError):  # Gradio's own: it looks for work 1,000 times a second
        blocks._queue.sleep_when_free = 0.005
    blocks.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=share,
        auth=(USER, password) if password else None,
        inbrowser=open_browser,
        prevent_thread_lock=True,
        max_file_size=1,
        max_threads=MOST + 40,  # of Gradio's jobs: a run that waits is one, though no thread
        mcp_server=importlib.util.find_spec("mcp") is not None,
        footer_links=["api"],
        ssr_mode=False,
        show_error=True,
        quiet=True,
        **styling(),
    )
    connect(blocks.app, do)
    print(f"steer app: {blocks.share_url or blocks.local_url}", flush=True)
    return blocks


def _private_folder() -> None:
    """Gradio's uploads and copies go to a folder of this process, not of all of Gradio's."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="steer-app-")

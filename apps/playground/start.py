"""Starting the page: on this machine alone unless asked otherwise."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

# nnsight gives every object a `.save`, after which anyio's server classes can't be defined.
import anyio._backends._asyncio  # noqa: F401

from apps.playground.studio.apart import apart
from apps.playground.studio.remote import Remote, dtype_of
from apps.playground.studio.studio import Shelf, Studio, offered
from apps.playground.studio.turns import MOST
from dictionaries.dictionary import Dictionary
from steer.errors import SteerError
from steer.lm.decoding import decoding_dtype
from steer.lm.default_model import NAME
from steer.loading import load
from steer.model import Model
from steer.progress import Progress
from steer.threads import begin

if TYPE_CHECKING:
    from apps.playground.server import Server


def launch(
    model: str | Model = NAME,
    dictionary: str | None = None,
    port: int | None = None,
    *,
    dtype: str | None = None,
    allow: Sequence[str] = (),
    share: bool = False,
    password: str | None = None,
    dictionaries: Sequence[Dictionary] = (),
    server: str | None = None,
    open_browser: bool = False,
    wait: bool = True,
    progress: Progress | None = None,
) -> Server:
    """Serve the page on 127.0.0.1; returns its server (`local_url`, `close()`) if not told to wait.

    dictionary: the first to offer, a name or a folder; the catalogue's of this model follow.
    dtype: of a model that is given by name; by default that of the `server`, or bfloat16 where it
        is multiplied in hardware, else float32.
    dictionaries: objects to offer.
    allow: host names, besides those of this machine, that it may be asked by, such as a proxy's.
    password: asked for before anything is answered, page, API and tools.
    share: through Gradio's public tunnel; refused without a password.
    server: address of a `steer serve` of the same model that writes the texts.
    Raises `SteerError` for that, for a port that can't be had, and what `load` raises.
    """
    if share and not password:
        raise SteerError("sharing gives everyone this page: set a password too")
    if password is not None and not password.strip():
        raise SteerError("the password is empty; give one of a few characters at least")
    if importlib.util.find_spec("gradio") is None:
        raise ModuleNotFoundError("the page needs gradio", name="gradio")
    from apps.playground.server import listen, show

    with listen(port) as door:
        opened = apart(open_studio)(
            model,
            dictionary,
            dtype=dtype,
            dictionaries=dictionaries,
            server=server,
            progress=progress,
        )
        page = serve(opened, door.dup(), allow=allow, share=share, password=password)
    if open_browser:
        show(page)
    if wait:
        page.block_thread()
    return page


def open_studio(
    model: str | Model = NAME,
    dictionary: str | None = None,
    *,
    dtype: str | None = None,
    dictionaries: Sequence[Dictionary] = (),
    server: str | None = None,
    progress: Progress | None = None,
) -> Studio:
    """Model and dictionaries, loaded; what can be searched is being prepared meanwhile."""
    if isinstance(model, Model):
        loaded = model
    else:
        chosen = dtype or (dtype_of(server) if server else decoding_dtype())
        loaded = load(model, dtype=chosen, progress=progress)
    names = [] if dictionaries and dictionary is None else offered(loaded.name, dictionary)
    remote = Remote.of(server, loaded) if server else None
    studio = Studio(loaded, Shelf(loaded, names, dictionaries), remote=remote)
    index = studio.shelf.index(studio.default)
    begin(index.warm, lambda: None)
    return studio


def serve(
    studio: Studio,
    door: socket.socket | None = None,
    *,
    allow: Sequence[str] = (),
    share: bool = False,
    password: str | None = None,
) -> Server:
    """The running server, at a port that is being listened to, or at the first free one.

    Python's threads take turns every half millisecond from here on, not every 5: the server's has
    to get a word in, several times a token, while the model's runs.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    sys.setswitchinterval(0.0005)
    from apps.playground.handlers import Handlers
    from apps.playground.page import page
    from apps.playground.server import listen, start

    do = Handlers(studio)
    blocks = page(studio, do)
    blocks.max_threads = MOST + 40  # of Gradio's jobs: a run that waits is one, though no thread
    blocks.queue(max_size=64, api_open=True)
    with suppress(AttributeError):  # Gradio's own: it looks for work 1,000 times a second
        blocks._queue.sleep_when_free = 0.005
    return start(blocks, do, door or listen(), allow=allow, share=share, password=password)

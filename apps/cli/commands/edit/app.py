"""`steer app`: the page."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.options.port import free_port
from apps.cli.options.run import Output
from apps.cli.options.single import MODEL, ModelName, WritingDtype
from dictionaries.extras import need


@command("steer app --port 7860")
def app(
    *,
    model: ModelName = MODEL,
    dictionary: Annotated[
        str | None, typer.Option(help="The first to offer: a catalogue name or a folder.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="By default the first free one from 7860."),
    ] = None,
    dtype: WritingDtype = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Another host name to answer to, such as a proxy's.")
    ] = None,
    share: Annotated[bool, typer.Option(help="A public tunnel; needs --password.")] = False,
    password: Annotated[
        str | None, typer.Option(help="Ask for it before anything is answered.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A steer serve of this model that writes the texts."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = False,
    output: Output,
) -> None:
    """Try edits by hand, in a page on this machine (127.0.0.1).

    With --json it says where it listens, and what it offers, in one line of JSON.
    """
    need("gradio")
    if port is not None:
        free_port(port)
    with _uncollected():
        from apps.playground import launch

        options: dict[str, Any] = {
            "dtype": dtype,
            "allow": allow or (),
            "share": share,
            "password": password,
            "server": server,
            "open_browser": browser,
        }
        with output.progress() as progress:
            page = launch(model, dictionary, port, wait=False, progress=progress, **options)
    page.block_thread(announce=output.json_output)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing is garbage while thousands of modules come in; to look for it takes a fifth of it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

"""`steer app`: the page."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.extras import missing
from apps.cli.options.single import MODEL, Dtype, ModelName


@command("steer app --port 7860")
def app(
    *,
    model: ModelName = MODEL,
    dictionary: Annotated[
        str | None, typer.Option(help="The first to offer: a catalogue name or a folder.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="By default the first free one from 7860.")
    ] = None,
    dtype: Dtype = "float32",
    share: Annotated[bool, typer.Option(help="A public tunnel; needs --password.")] = False,
    password: Annotated[str | None, typer.Option(help="Ask for it (user: steer).")] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A steer serve of this model that writes the texts."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = False,
) -> None:
    """Try edits by hand, in a page on this machine (127.0.0.1)."""
    with _uncollected():
        try:
            from apps.playground import launch
        except ModuleNotFoundError as error:
            raise missing(str(error.name), "app") from error
        options: dict[str, Any] = {
            "dtype": dtype,
            "share": share,
            "password": password,
            "server": server,
            "open_browser": browser,
        }
        blocks = launch(model, dictionary, port, wait=False, **options)
    blocks.block_thread()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing is garbage while thousands of modules come in; to look for it takes a fifth of it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

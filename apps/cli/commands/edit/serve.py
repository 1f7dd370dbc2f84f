"""`steer serve`: the model and its edits, for clients that speak OpenAI's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.extras import missing
from apps.cli.options.single import MODEL, Dtype, Json, ModelName


@command("steer serve --edits my-edits --port 8000")
def serve(
    *,
    model: ModelName = MODEL,
    edits: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Its files NAME.json are served as MODEL@NAME."),
    ] = None,
    dictionary: Annotated[
        str | None,
        typer.Option(help="What a short edit is of: a catalogue name or a folder."),
    ] = None,
    host: Annotated[str, typer.Option(help="Another than this machine needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="STEER_API_KEY", help="What clients have to send as Bearer."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name that it is asked for by.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Most texts decoded together.")] = 16,
    queue: Annotated[int, typer.Option(min=0, help="Most that wait beside them.")] = 64,
    budget: Annotated[int, typer.Option(min=1, help="Prompt tokens read in a step.")] = 64,
    seconds: Annotated[float, typer.Option(min=0, help="That a request may take.")] = 300.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="New ones a text may ask for.")] = 1024,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Serve the model and its edits over HTTP, on this machine (127.0.0.1)."""
    try:
        from apps.server.start import Settings, serve
    except ModuleNotFoundError as error:
        raise missing(str(error.name), "serve") from error
    from apps.server.guard import Rules
    from steer.serving.engine import Limits

    settings = Settings(
        model=model,
        dictionary=dictionary,
        edits=edits,
        dtype=dtype,
        port=port,
        rules=Rules(host, api_key, tuple(allow_host or ())),
        limits=Limits(rows=rows, queue=queue, budget=budget, seconds=seconds),
        most_tokens=max_tokens,
    )
    serve(settings, announce=json_output)

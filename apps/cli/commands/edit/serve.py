"""`steer serve`: the model and its edits, for clients that speak OpenAI's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.port import free_port
from apps.cli.options.run import Run
from apps.cli.options.serving import Address, Load
from dictionaries.extras import need


@command("steer serve --edits my-edits --port 8000")
def serve(
    *,
    edits: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Its files NAME.json are served as MODEL@NAME."),
    ] = None,
    dictionary: Annotated[
        str | None,
        typer.Option(help="What a short edit is of: a catalogue name or a folder."),
    ] = None,
    address: Address,
    load: Load,
    run: Run,
) -> None:
    """Serve the model and its edits over HTTP, on this machine (127.0.0.1)."""
    need("fastapi", "uvicorn", "prometheus_client")
    free_port(address.port, address.host)
    from apps.server.start import Settings, serve

    settings = Settings(
        model=run.model,
        dictionary=dictionary,
        edits=edits,
        dtype=run.dtype,
        device_map=run.device_map,
        quantization=run.quantize,
        port=address.port,
        rules=address.rules(),
        limits=load.limits(),
        most_tokens=load.max_tokens,
    )
    serve(settings, announce=run.json_output)

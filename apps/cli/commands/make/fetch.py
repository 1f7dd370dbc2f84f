"""`steer fetch`: the default model into the cache."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output


@command("steer fetch")
def fetch(
    *,
    check: Annotated[bool, typer.Option(help="Read it all and compare checksums.")] = False,
    output: Output,
) -> None:
    """Fetch the default model into the cache."""
    from steer.lm import default_model

    with output.progress() as progress:
        folder = default_model.fetch(progress)
    digest = default_model.verify() if check else None
    document = {"model": default_model.NAME, "folder": str(folder), "sha256": digest}
    output.emit(document, lambda: f"{default_model.NAME} is in {folder}")

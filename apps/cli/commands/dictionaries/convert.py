"""`steer convert`: a dictionary in another library's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.options.single import SourceName


@command("steer convert smollm2-135m/resid_post.20 copy --to saelens")
def convert(
    *,
    source: SourceName,
    destination: Annotated[Path, typer.Argument(help="A folder that is not there, or is empty.")],
    to: Annotated[str, typer.Option(help="saelens, sparsify or dictionary_learning.")],
    overwrite: Annotated[bool, typer.Option(help="Replace what the folder holds.")] = False,
    output: Output,
) -> None:
    """Write a dictionary in another library's format, or say why it can't be said there."""
    from dictionaries.convert import convert as run_convert

    folder = run_convert(source, destination, to, overwrite=overwrite)
    output.emit({"written": str(folder), "to": to}, lambda: f"written: {folder}")

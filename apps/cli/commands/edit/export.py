"""`steer export`: an intervention for another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.edits import read_intervention
from apps.cli.options.run import Float32


@command("steer export edit.json --to lm-eval --out steer.pt")
def export(
    *,
    edit: Annotated[Path, typer.Argument(help="An intervention saved as JSON.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    to: Annotated[str, typer.Option(help="vector, lm-eval or neuronpedia.")] = "vector",
    run: Float32,
) -> None:
    """Write an intervention in another tool's format, or say why it can't be said there."""
    from dictionaries.files.place import writable_file
    from steer.exchange.formats import export_to

    intervention = read_intervention(edit)
    writable_file(out)
    with run.loaded() as (model, _):
        export_to(to, model, intervention, out)
    run.emit({"written": str(out), "to": to}, lambda: f"written: {out}")

"""`steer docs`: the documents and the docstrings as a site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output


@command("steer docs site")
def docs(
    *,
    out: Annotated[Path, typer.Argument(help="The folder to write it to.")],
    output: Output,
) -> None:
    """A site of the documents and of all docstrings, that opens without a network."""
    from apps.studies.docs import build

    site = build(out)
    document = {
        "index": str(site.index),
        "documents": list(site.documents),
        "modules": list(site.modules),
        "left_out": dict(site.left_out),
    }
    lines = [f"{name} is left out: {why}" for name, why in site.left_out.items()]
    if not site.documents:
        lines.append("the documents are in the source tree, not in an installed package")
    lines.append(f"{len(site.documents)} documents, {len(site.modules)} modules; open {site.index}")
    output.emit(document, lambda: "\n".join(lines))

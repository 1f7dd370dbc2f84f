"""What labels are made from, and where they are written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.options.single import MODEL


@dataclass(frozen=True)
class Labelling:
    """The corpus of a recipe, its activations, and a folder for the labels."""

    recipe: Annotated[
        str, typer.Option(help="Whose corpus is read: a recipe file, or a shipped one's name.")
    ] = MODEL
    work: Annotated[
        Path | None, typer.Option(help="Where `steer train` keeps the recipe's activations.")
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="A folder to write to, if not beside the dictionary.")
    ] = None

"""`steer train`: dictionaries by a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output


@command("steer train smollm2-135m --out my-dictionaries")
def train(
    *,
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="Where finished dictionaries go.")] = Path("trained"),
    work: Annotated[
        Path | None, typer.Option(help="Activations and checkpoints; kept, so it can resume.")
    ] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only these sites.")] = None,
    harvest_only: Annotated[bool, typer.Option(help="Stop when activations are there.")] = False,
    output: Output,
) -> None:
    """Train dictionaries by a recipe: corpora, activations, training, card."""
    from apps.training.recipe import load_recipe
    from apps.training.train import run_recipe
    from dictionaries.files.place import writable_folder

    loaded = load_recipe(recipe)
    writable_folder(out)
    with output.progress() as progress:
        folders = run_recipe(
            loaded, out, work, sites=site or None, harvest_only=harvest_only, progress=progress
        )
    cards = [json.loads((folder / "card.json").read_text()) for folder in folders]
    output.emit(cards, lambda: "\n".join(f"written: {folder}" for folder in folders))

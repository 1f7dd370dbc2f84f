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
    frozen: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="A baseline: decoder, soft decoder or encoder stays as drawn; or nothing.",
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Of a baseline; the recipe's if left out.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="To harvest for a baseline; the recipe's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of a baseline; the recipe's if left out.")
    ] = None,
    output: Output,
) -> None:
    """Train dictionaries by a recipe: corpora, activations, training, card.

    --frozen trains a baseline by the same recipe, or by fewer --samples of fewer --tokens.
    """
    from apps.training.baselines import Baseline, run_baseline
    from apps.training.recipe import load_recipe
    from apps.training.train import run_recipe
    from dictionaries.files.place import writable_folder
    from steer.errors import SteerError

    loaded, sites = load_recipe(recipe), site or None
    if frozen is None and any(given is not None for given in (samples, tokens, seed)):
        raise SteerError("--samples, --tokens and --seed are of a baseline: give --frozen too")
    if frozen is not None and harvest_only:
        raise SteerError("--harvest-only is of a recipe: leave out --frozen")
    writable_folder(out)
    with output.progress() as progress:
        if frozen is None:
            folders = run_recipe(
                loaded, out, work, sites=sites, harvest_only=harvest_only, progress=progress
            )
        else:
            baseline = Baseline(frozen, samples, tokens, seed)
            folders = run_baseline(loaded, baseline, out, work, sites=sites, progress=progress)
    cards = [json.loads((folder / "card.json").read_text()) for folder in folders]
    output.emit(cards, lambda: "\n".join(f"written: {folder}" for folder in folders))

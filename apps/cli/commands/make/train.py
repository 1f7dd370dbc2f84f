"""`steer train`: dictionaries by a recipe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.options.work import Spread, tell_shard


@dataclass(frozen=True)
class Briefly:
    """A baseline of the recipe: what is frozen, and of how much it is trained."""

    frozen: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="A baseline: decoder, soft decoder or encoder stays as drawn; or nothing.",
        ),
    ] = None
    samples: Annotated[
        int | None, typer.Option(min=1, help="Of a baseline; the recipe's if left out.")
    ] = None
    tokens: Annotated[
        int | None, typer.Option(min=1, help="To harvest for a baseline; the recipe's.")
    ] = None
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of a baseline; the recipe's if left out.")
    ] = None

    def check(self) -> None:
        """Raise `SteerError` for what is of a baseline where there is none."""
        from steer.errors import SteerError

        given = (self.samples, self.tokens, self.seed)
        if self.frozen is None and any(value is not None for value in given):
            raise SteerError("--samples, --tokens and --seed are of a baseline: give --frozen too")


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
    spread: Spread,
    briefly: Briefly,
    output: Output,
) -> None:
    """Train dictionaries by a recipe: corpora, activations, training, card.

    --frozen trains a baseline by the same recipe, or by fewer --samples of fewer --tokens.
    --harvest-only --shard 2/3 harvests a third, into the same --work, at the same time as others do
    or not; the next call without --shard takes all of them up. --ray is of the harvest too.
    """
    from apps.training.baselines import Baseline, run_baseline
    from apps.training.recipe import load_recipe
    from apps.training.train import run_recipe, shard_file
    from dictionaries.files.place import writable_folder
    from steer.errors import SteerError

    loaded, sites = load_recipe(recipe), site or None
    briefly.check()
    if briefly.frozen is not None and harvest_only:
        raise SteerError("--harvest-only is of a recipe: leave out --frozen")
    if briefly.frozen is not None and (spread.shard or spread.ray):
        raise SteerError("--shard and --ray are of a recipe's own harvest: leave out --frozen")
    if spread.shard and not harvest_only:
        raise SteerError(
            f"--shard {spread.shard} is of the harvest: give --harvest-only, and train without "
            "--shard when all shards are there"
        )
    executor = spread.executor
    if spread.shard:
        shard_file(loaded, work, spread.shard)
    writable_folder(out)
    with output.progress() as progress:
        if briefly.frozen is None:
            folders = run_recipe(
                loaded,
                out,
                work,
                sites=sites,
                harvest_only=harvest_only,
                shard=spread.shard,
                executor=executor,
                progress=progress,
            )
        else:
            baseline = Baseline(briefly.frozen, briefly.samples, briefly.tokens, briefly.seed)
            folders = run_baseline(loaded, baseline, out, work, sites=sites, progress=progress)
    if spread.shard:
        file = shard_file(loaded, work, spread.shard)
        tell_shard(spread.shard, file, output.emit, "the call without --shard joins all")
        return
    cards = [json.loads((folder / "card.json").read_text()) for folder in folders]
    output.emit(cards, lambda: "\n".join(f"written: {folder}" for folder in folders))

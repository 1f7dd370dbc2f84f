"""`steer stability`: a site trained with several seeds, and which features come back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output


@command("steer stability smollm2-135m --site resid_post.20 --of smollm2-135m/resid_post.20")
def stability(
    *,
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    site: Annotated[str, typer.Option(help="The site to train.")],
    seeds: Annotated[int, typer.Option(min=3, help="How many dictionaries to train.")] = 5,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Activations for each; the recipe's if left out.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to harvest.")] = 2_300_000,
    of: Annotated[
        str | None,
        typer.Option(help="The dictionary whose features are asked about; else the first seed's."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Where stability.safetensors goes, to lie beside a dictionary.")
    ] = Path(),
    work: Annotated[
        Path | None, typer.Option(help="Activations and checkpoints; kept, so it can resume.")
    ] = None,
    output: Output,
) -> None:
    """Train a site with several seeds: which features come back, and in what subspace."""
    from apps.cli.views.stability import stability_view
    from apps.training.recipe import load_recipe
    from apps.training.stability import dictionary_named, other_seeds, run_stability
    from steer.disk.cache import cache_folder

    loaded = load_recipe(recipe)
    judged = dictionary_named(of)
    with output.progress() as progress:
        report = run_stability(
            loaded,
            site,
            seeds=other_seeds(loaded, site, judged, seeds),
            samples=samples,
            tokens=tokens,
            work=work or cache_folder() / "training" / f"{loaded.name}-{tokens}",
            dictionary=judged,
            out=out,
            progress=progress or (lambda what, done, total: None),
        )
    output.emit(report.to_dict(), lambda: stability_view(report))

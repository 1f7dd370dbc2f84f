"""`steer forecast`: what `steer explain` forecasts through, fitted for one more dictionary."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Run


@command("steer forecast smollm2-135m/resid_post.20")
def forecast(
    *,
    name: Annotated[str, typer.Argument(help="A dictionary, by name, folder or address.")],
    features: Annotated[
        int, typer.Option(min=12, help="How many of its features are pushed.")
    ] = 2_400,
    run: Run,
) -> None:
    """Fit the maps from a dictionary's site to the model's end, kept in the cache for explain."""
    from steer.forecasts import behaviours
    from steer.forecasts.fit import fit_and_keep

    with run.loaded() as (model, progress):
        dictionary = model.dictionary(name)
        folder = fit_and_keep(model, dictionary, features, progress)
        names = behaviours.fit_and_keep(model, dictionary, folder, progress=progress)
    document = {"dictionary": name, "model": model.name, "behaviours": names}
    others = ", ".join(names) or "no behaviour, since their words are not single tokens of it"
    run.emit(
        document | {"written": str(folder)}, lambda: f"written: {folder}\nwhat else moves: {others}"
    )

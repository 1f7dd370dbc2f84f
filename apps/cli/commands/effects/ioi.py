"""`steer ioi`: the worked story of indirect objects."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.plot import Plot
from apps.cli.options.run import Reading
from apps.cli.options.single import Top


@command("steer ioi --pairs 24 --plot ioi.html")
def ioi(
    *,
    pairs: Annotated[int, typer.Option(min=1, help="Prompts: random pairs of names.")] = 24,
    draws: Annotated[int, typer.Option(min=0, help="Controls of a feature; 0 for none.")] = 4,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the names.")] = 0,
    plot: Plot,
    run: Reading,
    top: Top = 10,
) -> None:
    """Which features say the indirect object's name: exactly, by gradients, against controls."""
    from apps.cli.views.sweep import swept_view
    from apps.studies.ioi import cases, story
    from steer.figures.effects import effect_bars

    with run.loaded() as (model, progress):
        told = story(
            model,
            model.dictionary(run.dictionary),
            cases(model, pairs, seed),
            draws=draws,
            progress=progress,
        )
    plot.draw(lambda: effect_bars(told.sweep, top))
    title = f"right in {told.accuracy:.0%} of {pairs} prompts, by {told.difference:.2f} logits"
    document = told.to_dict(top)
    run.emit(document, lambda: swept_view(document, title))

"""`steer downstream`: what an edit changes at a later site."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.edits import TextEdits
from apps.cli.options.plot import Plot
from apps.cli.options.run import EarlyReading
from apps.cli.options.single import DICTIONARY, Draws, Prompts, Top
from apps.cli.options.work import Work


@command('steer downstream "The old bridge" --ablate 2843')
def downstream(
    *,
    prompts: Prompts,
    edits: TextEdits,
    at: Annotated[str, typer.Option(help="Which tokens count: 1:, last, 3 or all.")] = "1:",
    later: Annotated[
        str, typer.Option("--later", help="The dictionary of a later site to read.")
    ] = DICTIONARY,
    draws: Draws = 8,
    work: Work,
    plot: Plot,
    run: EarlyReading,
    top: Top = 20,
) -> None:
    """Which features of a later dictionary an edit changes, by how much and at which tokens.

    Beside each: how much it changes under controls with the edit's norm at the same tokens, along
    random directions and along features of its density. `significant`: by more than under either.
    """
    from apps.cli.views.paths import downstream_views
    from steer.edits.phrases import parse_positions
    from steer.effects.downstream.downstream import downstream as measure
    from steer.figures.effects import downstream_bars

    edit = edits.intervention(run.dictionary)
    work.check(("--plot", plot.plot))
    with run.loaded() as (model, progress):
        changes = measure(
            model,
            prompts,
            edit,
            model.dictionary(later),
            at=parse_positions(at),
            draws=draws,
            **work.spread,
            progress=progress,
        )
    if work.told(run.emit):
        return
    plot.draw(lambda: downstream_bars(changes, top))
    document = {**changes.to_dict(top), "error": edit.error}
    title = f"features of {later}, mean over tokens {at}"
    run.emit(document, lambda: downstream_views(document, title, draws > 0))

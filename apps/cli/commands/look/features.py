"""`steer features`: what is active in a text."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Reading


@command('steer features "The Golden Gate Bridge is in California"')
def features(
    *,
    prompt: Annotated[str, typer.Argument(help="Text to read.")],
    run: Reading,
    top: Annotated[int, typer.Option(min=1, help="Features per token.")] = 5,
) -> None:
    """The most active features of each token."""
    from apps.cli.views.look import features_view

    with run.loaded() as (model, _):
        dictionary = model.dictionary(run.dictionary)
        active = model.features(prompt, dictionary)
    run.emit(active.to_list(top), lambda: features_view(active, dictionary, model, top))

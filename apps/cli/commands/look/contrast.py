"""`steer contrast`: features that tell two sets of prompts apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Run
from apps.cli.options.single import DICTIONARY, DictionaryName, Top
from apps.cli.output import table


@command("steer contrast --first happy.txt --second sad.txt")
def contrast(
    *,
    first: Annotated[Path, typer.Option(help="Prompts, one a line.")],
    second: Annotated[Path, typer.Option(help="Prompts, one a line.")],
    dictionary: DictionaryName = DICTIONARY,
    per: Annotated[str, typer.Option(help="What of a prompt: mean, max or last.")] = "mean",
    top: Top = 20,
    run: Run,
) -> None:
    """Features that differ between two sets of prompts, with intervals."""
    from dataclasses import replace
    from typing import cast

    from apps.cli.views.look import labelled
    from apps.text_files import read_lines
    from steer.features.contrast import Per, feature_contrast

    prompts = [read_lines(path) for path in (first, second)]
    with run.loaded() as (model, progress):
        loaded = model.dictionary(dictionary)
        differences = feature_contrast(
            model, loaded, *prompts, per=cast("Per", per), progress=progress
        )
    document = replace(differences, features=differences.features[:top]).to_dict()
    title = f"{differences.per} of a prompt; difference with its {differences.level:.0%} interval"
    run.emit(document, lambda: table(labelled(document["features"], loaded), title))

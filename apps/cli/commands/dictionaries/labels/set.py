"""`steer labels set`: a name by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.options.single import FeatureId


@command('steer labels set my-dictionary 1176 "comparatives" --writes')
def set(
    *,
    dictionary: Annotated[str, typer.Argument(help="A catalogue name or a folder.")],
    feature_id: FeatureId,
    text: Annotated[str, typer.Argument(help="What it means, in your words.")],
    writes: Annotated[
        bool, typer.Option("--writes", help="It is what the feature writes, not what it reads.")
    ] = False,
    output: Output,
) -> None:
    """Name a feature by hand: shown before all other labels, as "by hand".

    Kept beside a dictionary in a folder of yours, else in your cache. A second name of the same
    side replaces the first.
    """
    from dictionaries import catalogue
    from dictionaries.beside import by_hand

    loaded = catalogue.load(dictionary)
    loaded.check_features([feature_id])
    side = "writes" if writes else "reads"
    label, written = by_hand.name(catalogue.find(dictionary), feature_id, text, side)
    output.emit(
        {**label.to_dict(), "side": side, "written": str(written)},
        lambda: f"{feature_id} {side} {label.text} (by hand); written: {written}",
    )

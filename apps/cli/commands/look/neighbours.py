"""`steer neighbours`: features that point the same way."""

from __future__ import annotations

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.options.single import DICTIONARY, DictionaryName, FeatureId, Top
from apps.cli.output import table


@command("steer neighbours 1176")
def neighbours(
    *,
    feature_id: FeatureId,
    dictionary: DictionaryName = DICTIONARY,
    top: Top = 10,
    output: Output,
) -> None:
    """Features whose decoder rows point most nearly the same way."""
    from dataclasses import asdict

    from apps.cli.views.look import labelled
    from dictionaries import catalogue
    from dictionaries.measures.neighbours import nearest

    loaded = catalogue.load(dictionary)
    rows = [asdict(neighbour) for neighbour in nearest(loaded, feature_id, top)]
    output.emit(rows, lambda: table(labelled(rows, loaded)))

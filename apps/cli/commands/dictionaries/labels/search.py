"""`steer labels search`: features by what they are said to mean."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.options.single import DICTIONARY, DictionaryName, Top
from apps.cli.output import table


@command("steer labels search bridge")
def search(
    *,
    words: Annotated[str, typer.Argument(help="Every word, or one that begins so, must be there.")],
    dictionary: DictionaryName = DICTIONARY,
    top: Top = 20,
    output: Output,
) -> None:
    """Features whose label has the words."""
    from dictionaries import catalogue
    from dictionaries.errors import DictionaryError

    labels = catalogue.labels(dictionary)
    if not len(labels):
        raise DictionaryError(f"{dictionary} has no labels: steer labels import FILE")
    matching = labels.search(words, top)
    measured = ("f1",) if any(label.f1 is not None for label in matching) else ()
    columns = ("feature", "text", *measured, "source")
    rows = [{name: getattr(label, name) for name in columns} for label in matching]
    output.emit(
        [label.to_dict() for label in matching],
        lambda: table(rows) if rows else "no label has these words",
    )

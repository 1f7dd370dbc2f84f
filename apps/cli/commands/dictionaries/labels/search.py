"""`steer labels search`: `steer find` for a dictionary with labels."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.options.single import DICTIONARY, MODEL, DictionaryName, Top


@command("steer labels search bridge")
def search(
    *,
    words: Annotated[str, typer.Argument(help="A word or a phrase; a word's beginning will do.")],
    dictionary: DictionaryName = DICTIONARY,
    reader: Annotated[
        str | None,
        typer.Option(
            "--model", help="It reads the words; by default the shipped dictionaries' own, or none."
        ),
    ] = None,
    top: Top = 20,
    output: Output,
) -> None:
    """Features by words, ranked as by `steer find`; without a model by their labels alone."""
    from dataclasses import replace

    from apps.cli.views.find import found_document, found_view
    from dictionaries import catalogue
    from dictionaries.errors import DictionaryError
    from steer.interpretation.find import Finder
    from steer.loading import load

    if not len(catalogue.labels(dictionary)):
        raise DictionaryError(f"{dictionary} has no labels: steer labels import FILE")
    reader = reader or (MODEL if dictionary in catalogue.names() else None)
    with output.progress() as progress:
        if reader:
            reads = load(reader, progress=progress)
            result = Finder(reads.dictionary(dictionary), reads.token, reads).find(words, top)
        else:
            bare = replace(catalogue.load(dictionary), statistics=None)
            result = Finder(bare, str).find(words, top)
            said = f"{result.note} By labels alone: --model NAME reads the words too.".strip()
            result = replace(result, note=said)
    output.emit(found_document(result, dictionary), lambda: found_view(result, dictionary))

"""`steer find`: features by words."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Reading
from apps.cli.options.single import Top


@command("steer find ocean")
def find(
    *,
    words: Annotated[
        list[str], typer.Argument(metavar="WORDS", help="A word, a phrase, or a feature's number.")
    ],
    top: Top = 10,
    run: Reading,
) -> None:
    """Features that fire on the words, write them, or are named so; one ranking.

    Firing is measured: the model reads the words in four short contexts, beside other words.
    """
    from apps.cli.views.find import found_document, found_view
    from steer.interpretation.find import Finder

    with run.loaded() as (model, _):
        dictionary = model.dictionary(run.dictionary)
        hits = Finder(dictionary, model.token, model).find(" ".join(words), top)
    run.emit(found_document(hits, run.dictionary), lambda: found_view(hits, run.dictionary))

"""`steer concept`: from words to an edit that writes about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Run
from apps.cli.options.single import Seed
from apps.cli.options.work import Work


@command("steer concept ocean --prompt 'Today I'")
def concept(
    *,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORDS", help="A word or a short phrase.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Many instead: a word or phrase a line.")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sentences about it, one a line.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sentences that are not, one a line.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="A text of yours to show it on.")] = None,
    dictionary: Annotated[
        str | None, typer.Option(help="A catalogue name or a folder; by default block 10's.")
    ] = None,
    budget: Annotated[
        float, typer.Option(help="Nats a token that steered text may cost more.")
    ] = 1.0,
    seed: Seed = 0,
    work: Work,
    run: Run,
) -> None:
    """Find features that write about a word, their dose, and how surely they work."""
    from apps.cli.views.concept import concept_view, concepts_view
    from apps.text_files import read_lines
    from steer.errors import SteerError

    if bool(words) == bool(table):
        raise SteerError("give a word, or --table FILE with a word or phrase a line; one of both")
    if table is not None:
        if examples or against or prompt:
            raise SteerError("--examples, --against and --prompt are of one word: not with --table")
        with run.loaded() as (model, progress):
            from steer.concepts.concept import concept_table

            several = concept_table(
                model,
                read_lines(table),
                dictionary=dictionary,
                budget=budget,
                seed=seed,
                **work.spread,
                progress=progress,
            )
        if not work.told(run.emit):
            run.emit(several.to_dict(), lambda: concepts_view(several))
        return
    if work.file or work.shard or work.ray:
        raise SteerError("--file, --shard and --ray spread many words: give them with --table")
    about, away = (None if file is None else read_lines(file) for file in (examples, against))
    with run.loaded() as (model, progress):
        from steer.concepts.concept import concept as search

        result = search(
            model,
            " ".join(words or ()),
            examples=about,
            against=away,
            prompt=prompt,
            dictionary=dictionary,
            budget=budget,
            seed=seed,
            progress=progress,
        )
    run.emit(result.to_dict(), lambda: concept_view(result))

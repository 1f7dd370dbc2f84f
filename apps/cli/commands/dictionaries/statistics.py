"""`steer statistics`: what a dictionary does on text, kept beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Run
from apps.cli.options.work import Work


@command("steer statistics my-dictionary --corpus novel.txt")
def statistics(
    *,
    name: Annotated[str, typer.Argument(help="A folder, or hf://org/repo/path.")],
    corpus: Annotated[list[Path], typer.Option(help="Text files, or folders of them.")],
    tokens: Annotated[int, typer.Option(min=32, help="Most to read.")] = 200_000,
    overwrite: Annotated[bool, typer.Option(help="Replace statistics that are there.")] = False,
    work: Work,
    run: Run,
) -> None:
    """One pass over text, kept beside the dictionary: doses such as 5x max, and feature cards."""
    from apps.studies.statistics import measure

    work.check(("--overwrite", overwrite))
    with run.loaded() as (model, progress):
        done = measure(model, name, corpus, tokens, overwrite, **work.spread, progress=progress)
    if work.told(run.emit):
        return
    line = f"{done['active']:,} of {done['width']:,} features active on {done['tokens']:,} tokens"
    run.emit(done, lambda: f"{line}; written: {done['written']}")

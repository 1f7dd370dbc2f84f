"""`steer bench-training`: this package's trainer beside others'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.output import table


@command("steer bench-training --out training.jsonl")
def bench_training(
    *,
    width: Annotated[int, typer.Option(min=1, help="Features.")] = 6144,
    k: Annotated[int, typer.Option(min=1, help="Active features a token.")] = 32,
    batch: Annotated[int, typer.Option(min=1, help="Activations a step.")] = 2048,
    samples: Annotated[
        int, typer.Option(min=1, help="Activations that each trainer sees, once.")
    ] = 98_304,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each trainer has.")] = 8,
    only: Annotated[list[str] | None, typer.Option(help="Only this trainer; repeat it.")] = None,
    activations: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Harvested ones; otherwise they are harvested."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A line of JSON of all turns is added.")
    ] = None,
    output: Output,
) -> None:
    """Train TopK dictionaries with this package, sparsify, sae-lens and dictionary_learning.

    The same activations, width, k and batch, in turns in one run: samples a second, and the share
    of variance that each leaves unexplained after as many. A library that is not installed is
    named, with the command that installs it; best into an environment of its own.
    """
    from apps.studies.trainers import table as tables
    from apps.studies.trainers.bench import bench, chosen
    from apps.studies.trainers.harvested import harvested
    from apps.studies.trainers.size import Size
    from dictionaries.files.place import writable_file

    size = Size(width, k, batch, samples, rounds)
    chosen(only or ())
    if out:
        writable_file(out)
    with output.progress() as progress:
        benched = bench(harvested(size, activations, progress), size, only or (), progress)
    rows, goals = tables.lines(benched), tables.goals(benched)
    document = benched.to_dict()
    if out:
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")
    title = f"TopK {width}, k {k}, batch {batch}, {samples} samples of {benched.of}"
    output.emit(
        {**document, "lines": rows, "goals": goals},
        lambda: table(rows, title, [*goals, *benched.missing]),
    )

"""`steer bench-training`: this package's trainer beside others'."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Output
from apps.cli.options.trained import Trained
from apps.cli.output import table

if TYPE_CHECKING:
    from apps.studies.trainers.size import Size


class Part(StrEnum):
    """What is compared."""

    speed = "speed"
    learned = "learned"


@command("steer bench-training --out training.jsonl")
def bench_training(
    *,
    part: Annotated[
        Part, typer.Option(help="speed: in turns, samples a second; learned: each to the end.")
    ] = Part.speed,
    trained: Trained,
    only: Annotated[list[str] | None, typer.Option(help="Only this trainer; repeat it.")] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(help="learned: own, or a learning rate of Adam for all; own and 1e-3."),
    ] = None,
    site: Annotated[str, typer.Option(help="Of which the activations are.")] = "resid_post.20",
    activations: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Harvested ones; otherwise they are harvested."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="speed: a line is added; learned: goes on from there."),
    ] = None,
    output: Output,
) -> None:
    """Train TopK dictionaries with this package, sparsify, sae-lens and dictionary_learning.

    The same activations, width, k and batch. By speed, in turns in one run: samples a second. By
    what is learned, one after the other to the end: the share of variance that each leaves
    unexplained, at its own settings and at the same ones. A library that is not installed is
    named, with the command that installs it; best into an environment of its own.
    """
    from apps.studies.trainers import rates
    from apps.studies.trainers.bench import chosen
    from dictionaries.files.place import writable_file

    size = trained.size
    chosen(only or ())
    wanted = [rates.rate(said) for said in rate or rates.DEFAULT]
    if out:
        writable_file(out)
    asked = _Asked(size, only or (), wanted, site, activations, out)
    (_learned if part is Part.learned else _speed)(asked, output)


@dataclass(frozen=True)
class _Asked:
    size: Size
    only: Sequence[str]
    rates: Sequence[str | float]
    site: str
    folder: Path | None
    out: Path | None


def _speed(asked: _Asked, output: Output) -> None:
    from apps.studies.trainers import table as tables
    from apps.studies.trainers.bench import bench
    from apps.studies.trainers.harvested import harvested

    size = asked.size
    with output.progress() as progress:
        activations = harvested(size, asked.folder, progress, site=asked.site)
        benched = bench(activations, size, asked.only, progress)
    rows, goals = tables.lines(benched), tables.goals(benched)
    document = benched.to_dict()
    if asked.out:
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")
    output.emit(
        {**document, "lines": rows, "goals": goals},
        lambda: table(rows, _title(size, benched.of), [*goals, *benched.missing]),
    )


def _learned(asked: _Asked, output: Output) -> None:
    from apps.studies.trainers.harvested import harvested
    from apps.studies.trainers.learned import JUDGED_ON, learned, lines, missing

    size = asked.size
    with output.progress() as progress:
        activations = harvested(size, asked.folder, progress, site=asked.site, heldout=JUDGED_ON)
        rows = learned(activations, size, asked.only, asked.rates, asked.out, progress)
    absent = missing(asked.only)
    output.emit(
        {"rows": rows, "missing": absent},
        lambda: table(lines(rows), _title(size, activations.of), absent),
    )


def _title(size: Size, of: str) -> str:
    return f"TopK {size.width}, k {size.k}, batch {size.batch}, {size.samples} samples of {of}"

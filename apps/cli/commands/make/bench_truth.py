"""`steer bench-truth`: methods and trainers where the truth is planted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.given import Given
from apps.cli.options.run import Output
from apps.cli.output import table


@command("steer bench-truth --part methods --out truth.jsonl")
def bench_truth(
    *,
    part: Annotated[
        list[str] | None, typer.Option(help="methods or trainers; both if left out.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this method or trainer; repeat it.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Worlds of each kind (3), sets of samples (1).")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=10_000, help="Samples that a trainer sees in all.")
    ] = 300_000,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows as they come; goes on from there.")
    ] = None,
    output: Output,
    given: Given,
) -> None:
    """Score every method of effects on planted transformers, every trainer on known features.

    Methods: precision and recall of edges and features, beside a control that only looks at how
    active a feature is. Trainers: how many of 4,096 true features they have, beside how much they
    explain, and baselines with a frozen part. At most 20 minutes on two cores.
    """
    from apps.studies.truth import bench as study
    from apps.studies.truth import table as tables
    from apps.studies.truth.recovery import Size
    from steer.disk.cache import cache_folder

    if part and "trainers" not in part:
        given.refuse("it is of --part trainers", "--samples")
    checkpoints = cache_folder() / "truth"
    checkpoints.mkdir(parents=True, exist_ok=True)
    settings = study.Settings(
        parts=tuple(part or study.PARTS),
        worlds=seeds or 3,
        sets=seeds or 1,
        size=Size(seen=samples),
        only=tuple(only or ()),
        checkpoints=checkpoints,
    )
    with output.progress() as progress:
        rows = study.bench(settings, out, progress)
    parts = {"methods": tables.methods(rows), "trainers": tables.trainers(rows)}
    document = {**parts, "goals": tables.goals(rows), "rows": rows}
    output.emit(
        document,
        lambda: [
            *(table(lines, name) for name, lines in parts.items() if lines),
            *tables.said(rows),
        ],
    )

"""`steer bench`: costs and speed-ups on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Run
from apps.cli.output import table


@command("steer bench --json")
def bench(
    *,
    run: Run,
    pairs: Annotated[int, typer.Option(min=1, help="Interleaved pairs a figure.")] = 7,
) -> None:
    """Every ratio of cost and speed-up on this machine, beside what operations alone allow."""
    from apps.studies import bench as study

    with run.loaded() as (model, progress):
        figures = study.to_dict(study.bench(model, pairs=pairs, progress=progress))
    rows = [
        {"figure": name, "ratio": figure["ratio"], "bound": figure["bound"]}
        for name, figure in figures["figures"].items()
    ]
    on = ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    run.emit(figures, lambda: table(rows, f"{run.model}, {run.dtype}", [on]))

"""`steer bench`: costs and speed-ups on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.options.run import Run
from apps.cli.output import table


@command("steer bench --json")
def bench(
    *,
    run: Run,
    pairs: Annotated[int, typer.Option(min=1, help="Interleaved pairs a figure.")] = 7,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="This run is added to those in it.")
    ] = None,
    show: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measure nothing: show the runs in it.")
    ] = None,
) -> None:
    """Every ratio of cost and speed-up on this machine, beside what operations alone allow.

    With --out the run is a line of a file, which says what machine it is of; runs of several
    machines in one file stand side by side, a column each.
    """
    from apps.studies.bench import kept
    from apps.studies.machine import said
    from steer.errors import SteerError

    if show:
        if out:
            raise SteerError("--show measures nothing, so that --out has nothing to add: give one")
        there = kept.runs(show)
        run.emit({"runs": there}, lambda: table(kept.columns(there), "", kept.machines(there)))
        return
    before = kept.ready(out) if out else []
    measured = _measured(run, pairs)
    if out:
        kept.add(out, measured)
    title = f"{run.model}, {measured['dtype']}"
    if before:
        there = [*before, measured]
        run.emit(measured, lambda: table(kept.columns(there), title, kept.machines(there)))
        return
    rows = [
        {"figure": name, "ratio": figure["ratio"], "bound": figure["bound"]}
        for name, figure in measured["figures"].items()
    ]
    run.emit(measured, lambda: table(rows, title, [said(measured["machine"])]))


def _measured(run: Run, pairs: int) -> dict[str, Any]:
    from apps.studies.bench import run as study

    with run.loaded() as (model, progress):
        figures = study.bench(model, pairs=pairs, progress=progress)
    told = {"model": run.model, "dtype": model.precision, "pairs": pairs}
    return {**study.to_dict(figures), **told}

"""`steer reproduce`: the paper's experiments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from apps.progress import progress_bars

app = typer.Typer(no_args_is_help=True)


@app.command(epilog="Example: steer reproduce e1 --fast")
def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="e1, or its word such as frontier; all if left out.")
    ] = None,
    fast: Annotated[bool, typer.Option(help="Small samples: minutes, not hours.")] = False,
    seed: Annotated[int, typer.Option(help="Of every sample and initialisation.")] = 0,
    model: Annotated[
        str, typer.Option("--model", help="smollm2-135m, a folder, or a hub id org/name.")
    ] = "smollm2-135m",
    out: Annotated[Path, typer.Option(help="Where tables and plots are written.")] = Path(
        "results"
    ),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for machines.")
    ] = False,
) -> None:
    """Redo the paper's experiments: a table, a plot and the JSON behind them.

    What has been trained or harvested before is taken from the cache, so a run that was
    interrupted continues.
    """
    from apps.reproduce.registry import EXPERIMENTS, find
    from apps.reproduce.run import run_all
    from apps.reproduce.settings import Settings

    chosen = [find(name)] if name else list(EXPERIMENTS.values())
    with progress_bars(not json_output) as progress:
        settings = Settings(model=model, fast=fast, seed=seed, out=out)
        if progress is not None:
            settings = settings.showing(progress)
        results = list(run_all(settings, chosen))
    documents = [result.to_dict() for result in results]
    if json_output:
        print(json.dumps(documents[0] if name else documents, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    for result in results:
        Console().print(Markdown(result.markdown()))
    Console().print(f"written to {out}", markup=False, highlight=False)

"""`steer reproduce`: the paper's experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Float32


@command("steer reproduce e1 --fast")
def reproduce(
    *,
    name: Annotated[
        str | None, typer.Argument(help="e1, or its word such as frontier; all if left out.")
    ] = None,
    fast: Annotated[bool, typer.Option(help="Small samples: minutes, not hours.")] = False,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of every sample and initialisation.")
    ] = 0,
    run: Float32,
    judge: Annotated[
        str | None,
        typer.Option(help="For e2: a model to explain features, at --endpoint or else local."),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible URL that serves the judge.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where tables and plots are written.")] = Path(
        "results"
    ),
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Of all experiments, only part I of N.")
    ] = None,
) -> None:
    """Redo the paper's experiments: a table, a plot and the JSON behind them.

    What has been trained or harvested before is taken from the cache, so a run that was
    interrupted continues, and processes with a --shard each share it. The endpoint's key, if it
    needs one, is read from STEER_JUDGE_KEY or OPENAI_API_KEY.
    """
    from rich.markdown import Markdown

    from apps.labels.endpoint import check_endpoint
    from apps.reproduce.registry import EXPERIMENTS, find
    from apps.reproduce.run import of_shard, run_all
    from apps.reproduce.settings import Settings
    from dictionaries.files.place import writable_folder
    from steer.errors import SteerError

    if name and shard:
        raise SteerError(
            f"--shard {shard} is of all experiments, and {name} is one: give one of both"
        )
    chosen = [find(name)] if name else list(EXPERIMENTS.values())
    chosen = of_shard(chosen, shard) if shard else chosen
    if (judge or endpoint) and EXPERIMENTS["e2"] not in chosen:
        raise SteerError(
            f"{name or shard} asks no judge; only e2 does: leave --judge and --endpoint out"
        )
    settings = Settings(
        model=run.model, fast=fast, seed=seed, judge=judge, endpoint=endpoint, out=out
    )
    if endpoint:
        check_endpoint(endpoint)
    writable_folder(out)
    with run.progress() as progress:
        if progress is not None:
            settings = settings.showing(progress)
        results = list(run_all(settings, chosen))
    if reasons := [result.left_out for result in results if result.left_out]:
        typer.echo(f"pictures left out: {reasons[0]}", err=True)
    documents = [result.to_dict() for result in results]
    run.emit(
        documents[0] if name else documents,
        lambda: [*(Markdown(result.markdown()) for result in results), f"written to {out}"],
    )

"""Commands that make things and measure the machine: `steer train`, `fetch` and `bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.options import MAKE, MODEL, Dtype, Json, ModelName, load
from apps.cli.output import emit, table
from apps.cli.progress import progress_bars

app = typer.Typer(no_args_is_help=True)


@app.command(rich_help_panel=MAKE, epilog="Example: steer train smollm2-135m --out my-dictionaries")
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="Where finished dictionaries go.")] = Path("trained"),
    work: Annotated[
        Path | None, typer.Option(help="Activations and checkpoints; kept, so it can resume.")
    ] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only these sites.")] = None,
    harvest_only: Annotated[bool, typer.Option(help="Stop when activations are there.")] = False,
    json_output: Json = False,
) -> None:
    """Train dictionaries by a recipe: corpora, activations, training, card."""
    from apps.training.recipe import load_recipe
    from apps.training.train import run_recipe

    loaded = load_recipe(recipe)
    with progress_bars(not json_output) as progress:
        folders = run_recipe(
            loaded, out, work, sites=site or None, harvest_only=harvest_only, progress=progress
        )
    cards = [json.loads((folder / "card.json").read_text()) for folder in folders]
    emit(json_output, cards, lambda: "\n".join(f"written: {folder}" for folder in folders))


@app.command(rich_help_panel=MAKE, epilog="Example: steer fetch")
def fetch(
    check: Annotated[bool, typer.Option(help="Read it all and compare checksums.")] = False,
    json_output: Json = False,
) -> None:
    """Fetch the default model into the cache."""
    from steer.lm import default_model

    with progress_bars(not json_output) as progress:
        folder = default_model.fetch(progress)
    digest = default_model.verify() if check else None
    result = {"model": default_model.NAME, "folder": str(folder), "sha256": digest}
    emit(json_output, result, lambda: f"{default_model.NAME} is in {folder}")


@app.command(rich_help_panel=MAKE, epilog="Example: steer bench --json")
def bench(
    model: ModelName = MODEL,
    pairs: Annotated[int, typer.Option(help="Interleaved pairs a figure.")] = 7,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Every ratio of cost and speed-up on this machine, beside what operations alone allow."""
    from apps.studies import bench as benches

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        done: list[str] = []

        def report(name: str) -> None:
            done.append(name)
            if progress:
                progress("measuring", len(done) - 1, 9)

        figures = benches.to_dict(benches.bench(loaded, pairs=pairs, report=report))
    rows = [{"figure": n, "ratio": f["ratio"], "bound": f["bound"]} for n, f in figures.items()]
    emit(json_output, figures, lambda: table(rows, f"{model}, {dtype}"))

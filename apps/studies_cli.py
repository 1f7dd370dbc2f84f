"""`steer ioi`, a worked study of the default model, and `steer bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.effects_cli import _emit, _print_json
from apps.options import (
    DICTIONARY,
    MODEL,
    DictionaryName,
    Dtype,
    Json,
    ModelName,
    Plot,
    Top,
    brief,
    load,
)
from apps.options import draw as save_plot
from apps.progress import progress_bars

app = typer.Typer(no_args_is_help=True)


@app.command(epilog="Example: steer ioi --pairs 24 --plot ioi.html")
def ioi(
    pairs: Annotated[int, typer.Option(min=1, help="Prompts: random pairs of names.")] = 24,
    draws: Annotated[int, typer.Option(min=0, help="Controls of a feature; 0 for none.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Of the names.")] = 0,
    plot: Plot = None,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    top: Top = 10,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Which features say the indirect object's name: exactly, by gradients, against controls."""
    from apps import ioi as study
    from apps import plots

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        chosen = study.cases(loaded, pairs, seed)
        found = study.story(
            loaded, loaded.dictionary(dictionary), chosen, draws=draws, progress=progress
        )
    save_plot(plot, lambda: plots.effect_bars(found.sweep, top))
    title = f"right in {found.accuracy:.0%} of {pairs} prompts, by {found.difference:.2f} logits"
    data = found.to_dict(top)
    _emit(json_output, data if json_output else brief(data), title)


@app.command(epilog="Example: steer bench --json")
def bench(
    model: ModelName = MODEL,
    pairs: Annotated[int, typer.Option(help="Interleaved pairs a figure.")] = 7,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Every ratio of cost and speed-up on this machine, beside what operations alone allow."""
    from apps import bench as benches

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        done: list[str] = []

        def report(name: str) -> None:
            done.append(name)
            if progress:
                progress("measuring", len(done) - 1, 9)

        figures = benches.to_dict(benches.bench(loaded, pairs=pairs, report=report))
    rows = [{"figure": n, "ratio": f["ratio"], "bound": f["bound"]} for n, f in figures.items()]
    if json_output:
        _print_json(figures)
    else:
        _emit(False, {"rows": rows}, f"{model}, {dtype}", "rows")

"""Every feature at once: `steer sweep` exactly, `steer attribution` by gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.options import (
    DICTIONARY,
    EFFECTS,
    MODEL,
    Against,
    Answer,
    DictionaryName,
    Dtype,
    Json,
    ModelName,
    Plot,
    Prompts,
    Top,
    Where,
    draw,
    load,
    metric_of,
    positions_of,
)
from apps.cli.output import emit, error_said, table
from apps.cli.progress import progress_bars

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(no_args_is_help=True)

_BRIEF = ("feature", "effect", "low", "high", "active", "control", "q_control", "significant")
_MATCH = ("density", "control_density", "control_density_low", "control_density_high")


@app.command(
    rich_help_panel=EFFECTS,
    epilog='Example: steer sweep "John gave a drink to" --answer " Mary" --against " John"',
)
def sweep(
    prompts: Prompts,
    answer: Answer = None,
    against: Against = None,
    clamp: Annotated[
        str | None, typer.Option(help="Clamp to this, such as '5x max', instead of ablating.")
    ] = None,
    positions: Where = "1:",
    file: Annotated[
        Path | None, typer.Option(help="Rows as they come; continued if there.")
    ] = None,
    budget: Annotated[int, typer.Option(help="MiB of tensors beside the model.")] = 512,
    draws: Annotated[
        int, typer.Option(min=0, help="Controls of each of the 50 largest; 0 for none.")
    ] = 4,
    control: Annotated[str, typer.Option(help="random or matched: what they are.")] = "random",
    plot: Plot = None,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    top: Top = 20,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """The exact effect of ablating each active feature. Metric: KL, or a logit (difference).

    Controls have a feature's ‖Δ‖ at each position; `significant` corrects for many features. A
    single prompt can't be: give ten or more.
    """
    from apps.figures.effects import effect_bars
    from steer.edits import Ablate, Clamp
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.effects.sweep.controls import Against as Compared

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        found = ablation_sweep(
            loaded,
            prompts,
            loaded.dictionary(dictionary),
            metric=metric_of(answer, against),
            edit=Ablate if clamp is None else partial(Clamp, value=clamp),
            positions=positions_of(positions),
            budget=budget * 2**20,
            against=Compared(control, draws) if draws else None,
            file=file,
            progress=progress,
        )
    draw(plot, lambda: effect_bars(found, top))
    title = f"{found.edit} each of {len(found.features)} features: change of {found.metric}"
    data = found.to_dict(top)
    emit(json_output, data, lambda: swept_view(data, title))


@app.command(
    rich_help_panel=EFFECTS,
    epilog='Example: steer attribution "John gave a drink to" --answer " Mary" --against " John"',
)
def attribution(
    prompts: Prompts,
    answer: Annotated[str, typer.Option(help='Token whose logit is the metric: " Mary".')],
    against: Against = None,
    method: Annotated[str, typer.Option(help="atp or ig.")] = "atp",
    steps: Annotated[int, typer.Option(help="Of ig.")] = 10,
    exact: Annotated[bool, typer.Option(help="Compare with exact ablations.")] = False,
    plot: Plot = None,
    positions: Where = "1:",
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    top: Top = 20,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Estimated effect of every feature at once, from gradients; with --exact, how good it is."""
    from apps.figures.effects import agreement_scatter
    from steer.effects.attribution import attribution as gradients
    from steer.effects.attribution.result import compare
    from steer.effects.sweep.ablation_sweep import ablation_sweep
    from steer.errors import SteerError

    if plot is not None and not exact:
        raise SteerError("--plot draws the estimate against the exact effects: give --exact too")
    metric, where = metric_of(answer, against), positions_of(positions)
    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        sae = loaded.dictionary(dictionary)
        found = gradients.attribution(
            loaded, prompts, sae, metric, method=method, steps=steps, positions=where
        )
        data = found.to_dict(top)
        if exact:
            swept = ablation_sweep(
                loaded, prompts, sae, metric=metric, positions=where, progress=progress
            )
            pairs = (found, "activation")
            data["agreement"] = [compare(each, swept).to_dict() for each in pairs]
            draw(plot, lambda: agreement_scatter(found, swept))
    title = f"{found.method}: estimated change of {found.metric}"
    emit(
        json_output,
        data,
        lambda: [
            table(data["features"], title),
            *agreements(data.get("agreement", ())),
            error_said([data["error"]]),
        ],
    )


def swept_view(data: Mapping[str, Any], title: str) -> list[RenderableType]:
    """A sweep with the columns that fit on a screen, and how estimates agree with it."""
    rows = [{key: row[key] for key in (*_BRIEF, *_MATCH) if key in row} for row in data["features"]]
    lines = agreements(data.get("agreement", ()))
    return [table(rows, title), *lines, error_said([data["error"]])]


def agreements(found: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """A line an estimate: how far it agrees with exact ablation."""
    return [
        f"{each['estimate']} against exact ablation: "
        + ", ".join(f"{name} {each[name]['mean']:.3f}" for name in ("pearson", "spearman"))
        + f", {each['overlap']['mean']:.0%} of the {each['k']} largest"
        for each in found
    ]

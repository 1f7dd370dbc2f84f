"""What edits do downstream: `steer effects`, `dose`, and the worked story `steer ioi`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from apps.cli.edit_options import Edits, gathers
from apps.cli.options import (
    DICTIONARY,
    EFFECTS,
    MODEL,
    Against,
    Answer,
    DictionaryName,
    Draws,
    Dtype,
    FeatureId,
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
from apps.cli.output import emit, error_said, records, table
from apps.cli.progress import progress_bars
from apps.cli.sweep_cli import swept_view

app = typer.Typer(no_args_is_help=True)


@app.command(
    rich_help_panel=EFFECTS,
    epilog='Example: steer effects "The old bridge" --clamp 123=5x --target " river"',
)
@gathers
def effects(
    prompts: Prompts,
    edits: Edits,
    target: Annotated[list[str] | None, typer.Option(help="Tokens to report on.")] = None,
    answer: Answer = None,
    against: Against = None,
    draws: Draws = 8,
    plot: Plot = None,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """What an edit does to the next token, with intervals over prompts and with controls.

    Example, which features make it say " Mary"?

    \b
    P="When Mary and John went to the store, John gave a drink to"
    steer sweep "$P" --answer " Mary" --against " John"
    steer attribution "$P" --answer " Mary" --against " John" --exact
    steer ioi --pairs 24 --plot ioi.html
    steer effects "$P" --ablate 2843 --answer " Mary" --against " John"

    The first ablates every active feature; the second estimates the same by
    gradients and says how far to trust that; the third does both over random
    names, against random directions; the last is one of them in detail.

    Over 24 name pairs the model is right in 100%, by 4.81 logits. Ablating
    2843 changes that by -0.98 [-1.08, -0.88], a random direction of its size
    by 0.13; 21 of 1,665 features exceed random directions. Gradient times
    activation agrees with exact ablation (Pearson 0.92, Spearman 0.97, 83% of
    the largest 10); the activation alone does not (0.18, 0.07, 9%).
    """
    from dataclasses import asdict

    from apps.cli.views import effects_views
    from apps.figures.effects import effect_figure
    from steer.effects.logits.logit_effect import logit_effect

    with progress_bars(not json_output) as progress:
        found = logit_effect(
            load(model, dtype, progress),
            prompts,
            edits.interventions(dictionary),
            tuple(target or ()),
            metric=None if answer is None else metric_of(answer, against),
            draws=draws,
            if_silent="ignore",
        )
    tops = {"promoted": found.promoted, "suppressed": found.suppressed}
    draw(plot, lambda: effect_figure(found))
    data = {
        "error": [each.error for each in found.interventions],
        "interventions": [each.to_dict() for each in found.interventions],
        "summary": {name: asdict(value) for name, value in found.summary().items()},
        "targets": [asdict(each) for each in found.targets],
        **{name: [asdict(each) for each in several] for name, several in tops.items()},
        "controls": records(found.controls.to_frame()) if found.controls else [],
        "receipts": [receipt.to_list() for receipt in found.receipts],
    }
    emit(json_output, data, lambda: effects_views(found))


@app.command(
    rich_help_panel=EFFECTS,
    epilog='Example: steer dose 123 "The weather was" --dose -2x --dose 1x --dose 5x',
)
def dose(
    feature: FeatureId,
    prompts: Prompts,
    dose: Annotated[list[str], typer.Option(help="5x (times its max) or 80; repeat it.")],
    neutral: Annotated[
        list[str] | None, typer.Option(help="Text whose loss limits the dose; repeat it.")
    ] = None,
    continuation: Annotated[
        int, typer.Option(min=0, help="Tokens to write, for loss and repetition; 0 for none.")
    ] = 24,
    plot: Plot = None,
    answer: Answer = None,
    against: Against = None,
    positions: Where = "1:",
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Effect, KL, loss and repetition against a clamp's dose; the strongest within 0.5 nats."""
    from apps.figures.curves import dose_curves
    from steer.effects.dose.dose_response import dose_response

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        found = dose_response(
            loaded,
            prompts,
            loaded.dictionary(dictionary),
            feature,
            dose,
            metric=metric_of(answer, against),
            positions=positions_of(positions),
            neutral=neutral or (),
            continuation=continuation,
        )
    draw(plot, lambda: dose_curves(found))
    data: dict[str, Any] = {
        "feature": feature,
        "metric": found.metric,
        "error": found.error,
        "strongest": found.strongest(),
        "asymmetry": records(found.asymmetry()),
        "doses": records(found.to_frame()),
    }
    title = f"feature {feature}: strongest dose within 0.5 nats {data['strongest'] or 'none'}"
    said = error_said([found.error])
    emit(
        json_output,
        data,
        lambda: [table(data["doses"], title), *_asymmetry(data["asymmetry"]), said],
    )


def _asymmetry(rows: list[dict[str, Any]]) -> list[Any]:
    return [table(rows, "effects at -d and +d")] if rows else []


@app.command(rich_help_panel=EFFECTS, epilog="Example: steer ioi --pairs 24 --plot ioi.html")
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
    from apps.figures.effects import effect_bars
    from apps.studies import ioi as study

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        chosen = study.cases(loaded, pairs, seed)
        found = study.story(
            loaded, loaded.dictionary(dictionary), chosen, draws=draws, progress=progress
        )
    draw(plot, lambda: effect_bars(found.sweep, top))
    title = f"right in {found.accuracy:.0%} of {pairs} prompts, by {found.difference:.2f} logits"
    data = found.to_dict(top)
    emit(json_output, data, lambda: swept_view(data, title))

"""Commands that measure: `steer sweep`, `attribution`, `dose` and `effects`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from apps import edit_options
from apps.options import (
    DICTIONARY,
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
    brief,
    draw,
    load,
    metric_of,
    positions_of,
)
from apps.progress import progress_bars

app = typer.Typer(no_args_is_help=True)


@app.command(
    epilog='Example: steer sweep "John gave a drink to" --answer " Mary" --against " John"'
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
    from apps import plots
    from steer.edits import Ablate, Clamp
    from steer.effects.sweep import ablation_sweep
    from steer.effects.sweep_controls import Against as Compared

    against_what = Compared(control, draws) if draws else None
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
            against=against_what,
            file=file,
            progress=progress,
        )
    draw(plot, lambda: plots.effect_bars(found, top))
    title = f"{found.edit} each of {len(found.features)} features: change of {found.metric}"
    data = found.to_dict(top)
    _emit(json_output, data if json_output else brief(data), title)


@app.command(
    epilog='Example: steer attribution "John gave a drink to" --answer " Mary" --against " John"'
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
    from apps import plots
    from steer.effects import attribution as gradients
    from steer.effects.attribution_result import compare
    from steer.effects.sweep import ablation_sweep
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
            draw(plot, lambda: plots.agreement_scatter(found, swept))
    _emit(json_output, data, f"{found.method}: estimated change of {found.metric}")


@app.command(epilog='Example: steer dose 123 "The weather was" --dose -2x --dose 1x --dose 5x')
def dose(
    feature: Annotated[int, typer.Argument(help="A feature's index.")],
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
    from apps import plots
    from steer.effects.dose import dose_response

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
    draw(plot, lambda: plots.dose_curves(found))
    data = {
        "feature": feature,
        "metric": found.metric,
        "strongest": found.strongest(),
        "asymmetry": _records(found.asymmetry()),
        "doses": _records(found.to_frame()),
    }
    _emit(json_output, data, f"feature {feature}: strongest dose {data['strongest']}", "doses")


@app.command(epilog='Example: steer effects "The old bridge" --clamp 123=5x --target " river"')
def effects(
    prompts: Prompts,
    clamp: edit_options.Clamp = None,
    ablate: edit_options.Ablate = None,
    target: Annotated[list[str] | None, typer.Option(help="Tokens to report on.")] = None,
    answer: Answer = None,
    against: Against = None,
    positions: Annotated[str, typer.Option(help="all, last, 3 or 1:.")] = "all",
    draws: Annotated[int, typer.Option(help="Controls of each kind.")] = 8,
    plot: Plot = None,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """What an edit does to the next token, with intervals over prompts and with controls.

    Which features make it say " Mary" in "When Mary and John went to the store, John gave a drink
    to"? `steer ioi` answers it over random names: by exact ablation, by gradients, how far the two
    agree, and against controls.
    """
    from dataclasses import asdict

    from apps import plots
    from steer.effects.logits import logit_effect

    interventions = edit_options.interventions(
        dictionary, None, positions, clamp=clamp, ablate=ablate
    )
    with progress_bars(not json_output) as progress:
        found = logit_effect(
            load(model, dtype, progress),
            prompts,
            interventions,
            tuple(target or ()),
            metric=None if answer is None else metric_of(answer, against),
            draws=draws,
            if_silent="ignore",
        )
    draw(
        plot,
        lambda: plots.lens_table({"promoted": found.promoted, "suppressed": found.suppressed}),
    )
    data = {
        "summary": {name: asdict(value) for name, value in found.summary().items()},
        "targets": [asdict(each) for each in found.targets],
        "promoted": [asdict(each) for each in found.promoted],
        "suppressed": [asdict(each) for each in found.suppressed],
        "controls": _records(found.controls.to_frame()) if found.controls else [],
    }
    title = "; ".join(f"{name} {value}" for name, value in found.summary().items())
    _emit(json_output, data, title, "controls")


# -- shared ------------------------------------------------------------------------------------


def _records(frame: Any) -> list[dict[str, Any]]:
    """Rows of a DataFrame as plain data; NaN becomes None."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _print_json(data: Any) -> None:
    print(json.dumps(_finite(data), ensure_ascii=False, allow_nan=False))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and data != data else data


def _emit(as_json: bool, data: dict[str, Any], title: str, rows: str = "features") -> None:
    if as_json:
        _print_json(data)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    shown = data[rows]
    for column in shown[0] if shown else ():
        table.add_column(column)
    for row in shown:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    console = Console()
    console.print(table)
    for agreement in data.get("agreement", ()):
        line = ", ".join(f"{k} {agreement[k]['mean']:.3f}" for k in ("pearson", "spearman"))
        console.print(f"{agreement['estimate']} against exact ablation: {line}")

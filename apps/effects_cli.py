"""Commands that measure: `steer sweep`, `attribution`, `dose`, `effects` and `bench`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps import edit_options
from apps.progress import progress_bars

if TYPE_CHECKING:
    from steer.effects.metric import Metric
    from steer.model import Model

app = typer.Typer(no_args_is_help=True)

Prompts = Annotated[list[str], typer.Argument(help="One or more texts.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
ModelName = Annotated[
    str, typer.Option("--model", help="smollm2-135m, a folder, or a hub id org/name.")
]
DictionaryName = Annotated[str, typer.Option("--dictionary", help="A catalogue name or a folder.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")]
Top = Annotated[int, typer.Option(help="Features to show.")]
Where = Annotated[str, typer.Option("--positions", help="all, last, 3 or 1: (not the first).")]
Answer = Annotated[
    str | None, typer.Option(help='Token whose logit is the metric, such as " Mary".')
]
Against = Annotated[str | None, typer.Option(help="Token whose logit is subtracted from it.")]
_DEFAULT = "smollm2-135m/resid_post.20"
_MODEL = "smollm2-135m"


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
    dictionary: DictionaryName = _DEFAULT,
    model: ModelName = _MODEL,
    top: Top = 20,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """The exact effect of ablating each active feature. Metric: KL, or a logit (difference)."""
    from steer.edits import Ablate, Clamp
    from steer.effects.sweep import ablation_sweep

    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        found = ablation_sweep(
            loaded,
            prompts,
            loaded.dictionary(dictionary),
            metric=_metric(answer, against),
            edit=Ablate if clamp is None else partial(Clamp, value=clamp),
            positions=_positions(positions),
            budget=budget * 2**20,
            file=file,
            progress=progress,
        )
    title = f"{found.edit} each of {len(found.features)} features: change of {found.metric}"
    _emit(json_output, found.to_dict(top), title)


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
    positions: Where = "1:",
    dictionary: DictionaryName = _DEFAULT,
    model: ModelName = _MODEL,
    top: Top = 20,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Estimated effect of every feature at once, from gradients; with --exact, how good it is."""
    from steer.effects import attribution as gradients
    from steer.effects.attribution_result import compare
    from steer.effects.sweep import ablation_sweep

    metric, where = _metric(answer, against), _positions(positions)
    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
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
    _emit(json_output, data, f"{found.method}: estimated change of {found.metric}")


@app.command(epilog='Example: steer dose 123 "The weather was" --dose -2x --dose 1x --dose 5x')
def dose(
    feature: Annotated[int, typer.Argument(help="A feature's index.")],
    prompts: Prompts,
    dose: Annotated[list[str], typer.Option(help="5x (times its max) or 80; repeat it.")],
    answer: Answer = None,
    against: Against = None,
    positions: Where = "1:",
    dictionary: DictionaryName = _DEFAULT,
    model: ModelName = _MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Effect, KL and loss against the dose of a clamp, and the strongest dose within 0.5 nats."""
    from steer.effects.dose import dose_response

    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        found = dose_response(
            loaded,
            prompts,
            loaded.dictionary(dictionary),
            feature,
            dose,
            metric=_metric(answer, against),
            positions=_positions(positions),
        )
    data = {
        "feature": feature,
        "metric": found.metric,
        "strongest": found.strongest(),
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
    dictionary: DictionaryName = _DEFAULT,
    model: ModelName = _MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """What an edit does to the next token, with intervals over prompts and with controls."""
    from dataclasses import asdict

    from steer.effects.logits import logit_effect

    interventions = edit_options.interventions(
        dictionary, None, positions, clamp=clamp, ablate=ablate
    )
    with progress_bars(not json_output) as progress:
        found = logit_effect(
            _load(model, dtype, progress),
            prompts,
            interventions,
            tuple(target or ()),
            metric=None if answer is None else _metric(answer, against),
            draws=draws,
            if_silent="ignore",
        )
    assert found.controls is not None or not draws
    data = {
        "summary": {name: asdict(value) for name, value in found.summary().items()},
        "targets": [asdict(each) for each in found.targets],
        "promoted": [asdict(each) for each in found.promoted],
        "suppressed": [asdict(each) for each in found.suppressed],
        "controls": _records(found.controls.to_frame()) if found.controls else [],
    }
    title = "; ".join(f"{name} {value}" for name, value in found.summary().items())
    _emit(json_output, data, title, "controls")


@app.command(epilog="Example: steer bench --json")
def bench(
    model: ModelName = _MODEL,
    pairs: Annotated[int, typer.Option(help="Interleaved pairs a figure.")] = 7,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Every ratio of cost and speed-up on this machine, beside what operations alone allow."""
    from apps import bench as benches

    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
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


# -- shared ------------------------------------------------------------------------------------


def _load(name: str, dtype: str, progress: Any) -> Model:
    from apps.cli import _load as load

    return load(name, dtype, progress)


def _metric(answer: str | None, against: str | None) -> Metric | str:
    from steer.effects.metric import LogitDifference

    return "kl" if answer is None else LogitDifference(answer, against or ())


def _positions(text: str) -> str | int:
    return int(text) if text.removeprefix("-").isdecimal() else text


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

"""Commands about the way an effect takes: `steer downstream`, `tree`, `direct` and `patch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from apps import edit_options
from apps.effects_cli import _emit, _print_json, _records
from apps.options import (
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
)
from apps.options import load as _load
from apps.options import metric_of as _metric
from apps.options import positions_of as _positions
from apps.progress import progress_bars

app = typer.Typer(no_args_is_help=True)

Later = Annotated[str, typer.Option("--later", help="The dictionary of a later site to read.")]
_MODEL = "smollm2-135m"
_EARLY, _LATE = f"{_MODEL}/resid_post.10", f"{_MODEL}/resid_post.20"


@app.command(epilog='Example: steer downstream "The old bridge" --ablate 123')
def downstream(
    prompts: Prompts,
    clamp: edit_options.Clamp = None,
    ablate: edit_options.Ablate = None,
    scale: edit_options.Scale = None,
    add: edit_options.Add = None,
    positions: Where = "1:",
    at: Annotated[str, typer.Option(help="Which tokens count: 1:, last, 3 or all.")] = "1:",
    later: Later = _LATE,
    dictionary: DictionaryName = _EARLY,
    model: ModelName = _MODEL,
    top: Top = 20,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Which features of a later dictionary an edit changes, by how much and at which tokens."""
    from steer.effects.downstream import downstream as measure

    edits = edit_options.interventions(
        dictionary, None, positions, clamp=clamp, ablate=ablate, scale=scale, add=add
    )
    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        found = measure(
            loaded,
            prompts,
            edits[0],
            loaded.dictionary(later),
            at=_positions(at),
            progress=progress,
        )
    _emit(json_output, found.to_dict(top), f"features of {later}, mean over tokens {at}")


@app.command(epilog="Example: steer tree 1176 --texts my_texts.txt --hydra")
def tree(
    feature: Annotated[int, typer.Argument(help="The target: a feature of the last dictionary.")],
    texts: Annotated[
        Path | None,
        typer.Option(help="A file with a text a line; by default the dictionary's own contexts."),
    ] = None,
    dictionary: Annotated[
        list[str] | None, typer.Option("--dictionary", help="From the latest to the earliest.")
    ] = None,
    contexts: Annotated[int, typer.Option(min=1, help="Contexts of each feature.")] = 20,
    parents: Annotated[int, typer.Option(min=1, help="Earlier features kept of each.")] = 5,
    hydra: Annotated[bool, typer.Option(help="Ablate again without the best parent.")] = False,
    positions: Where = "1:",
    seed: Annotated[int, typer.Option(help="Of the choice of contexts.")] = 0,
    plot: Plot = None,
    model: ModelName = _MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """The causal tree of a feature: earlier features under whose ablation it falls most."""
    from apps import plots
    from steer.effects.tree import causal_tree

    names = dictionary or [_LATE, _EARLY]
    lines = None if texts is None else [t for t in texts.read_text().splitlines() if t.strip()]
    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        found = causal_tree(
            loaded,
            [loaded.dictionary(name) for name in names],
            feature,
            lines,
            contexts=contexts,
            parents=parents,
            hydra=hydra,
            positions=_positions(positions),
            seed=seed,
            progress=progress,
        )
    draw(plot, lambda: plots.causal_tree(found.to_dict()))
    data = found.to_dict() if json_output else {"rows": _records(found.to_frame())}
    title = f"feature {feature} of {names[0]}, {len(found.nodes[0].contexts)} contexts"
    _emit(json_output, data, title, "rows")
    if found.backups and not json_output:
        rows = [vars(backup) for backup in found.backups]
        _emit(False, {"rows": rows}, "with the best parent ablated too", "rows")


@app.command(epilog='Example: steer direct "She is taller" --clamp 1176=2x --answer " than"')
def direct(
    prompts: Prompts,
    clamp: edit_options.Clamp = None,
    ablate: edit_options.Ablate = None,
    scale: edit_options.Scale = None,
    add: edit_options.Add = None,
    feature: Annotated[
        int | None,
        typer.Option(help="No edit: its decoder row times --amount, by the direct path alone."),
    ] = None,
    amount: Annotated[float, typer.Option(help="Of --feature.")] = 1.0,
    answer: Answer = None,
    against: Against = None,
    positions: Where = "1:",
    dictionary: DictionaryName = _LATE,
    model: ModelName = _MODEL,
    top: Annotated[int, typer.Option(min=1, help="Tokens to show.")] = 10,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """An edit's total effect, its direct one, and the effect with parts of the model frozen."""
    from steer.effects.direct_effect import LABEL, direct_logit_effect
    from steer.effects.paths import path_effects

    data: dict[str, Any]
    with progress_bars(not json_output) as progress:
        if feature is not None:
            _no_edits(clamp, ablate, scale, add)
            loaded = _load(model, dtype, progress)
            sae = loaded.dictionary(dictionary)
            data = direct_logit_effect(
                loaded, sae, feature, amount=amount, prompts=prompts, top=top
            ).to_dict()
        else:
            (edit,) = edit_options.interventions(
                dictionary, None, positions, clamp=clamp, ablate=ablate, scale=scale, add=add
            )
            found = path_effects(
                _load(model, dtype, progress), prompts, edit, metric=_metric(answer, against)
            )
            data = {
                **found.to_dict(),
                "promoted": [vars(each) for each in found.promoted(k=top)],
                "suppressed": [vars(each) for each in found.suppressed(k=top)],
            }
    if json_output:
        _print_json(data)
        return
    if feature is None:
        _emit(False, data, f"change of {data['metric']}", "paths")
    for name in ("promoted", "suppressed"):
        _emit(False, data, f"{name} ({LABEL})", name)


def _no_edits(*edits: Any) -> None:
    from steer.errors import InterventionError

    if any(edits):
        raise InterventionError("give either --feature or edits such as --clamp 123=5x, not both")


@app.command(
    epilog='Example: steer patch "John gave a drink to" "Mary gave a drink to" --ranking ig'
)
def patch(
    base: Annotated[str, typer.Argument(help="The text that is patched.")],
    target: Annotated[str, typer.Argument(help="As many tokens; its features are patched in.")],
    ranking: Annotated[str, typer.Option(help="ig, atp, exact, norm or random.")] = "ig",
    error: Annotated[str, typer.Option(help="keep the base's error, or patch it.")] = "keep",
    kl: Annotated[
        float | None, typer.Option(help="Also the fewest features that reach this KL, in nats.")
    ] = None,
    plot: Plot = None,
    positions: Where = "all",
    dictionary: DictionaryName = _LATE,
    model: ModelName = _MODEL,
    top: Annotated[int, typer.Option(min=1, help="Ranked features to show.")] = 10,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """KL(edited‖target) against how many features are patched from one prompt into another."""
    from apps import plots
    from steer.effects.minimal import minimal_set
    from steer.effects.patching import patch_curve, prompt_pairs, rank

    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        pairs = prompt_pairs(
            loaded,
            base,
            target,
            loaded.dictionary(dictionary),
            positions=_positions(positions),
            error=error,
        )
        order = rank(pairs, ranking)
        curve = patch_curve(pairs, order, progress=progress)
        fewest = None if kl is None else minimal_set(pairs, order, kl=kl)
    draw(plot, lambda: plots.patching_curves({ranking: curve}))
    data = {**curve.to_dict(), "ranking": ranking, "ranked": order[:top]}
    if fewest is not None:
        data["minimal"] = fewest.to_dict()
    area = "" if data["area"] is None else f", mean height {data['area']['mean']:.3g} nats"
    _emit(json_output, data, f"KL(edited‖target), {len(order)} features differ{area}", "points")
    if not json_output:
        lines = {"best first": str(order[:top])}
        if fewest is not None:
            lines["fewest"] = f"{fewest.nodes}: {fewest.value.mean:.3g} nats"
        _emit(False, {"rows": [lines]}, f"ranked by {ranking}", "rows")

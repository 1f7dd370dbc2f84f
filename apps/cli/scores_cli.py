"""Commands that score steering: `steer score`, `select` and `calibrate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from apps.cli.options import (
    DICTIONARY,
    EVALUATE,
    MODEL,
    DictionaryName,
    Dtype,
    FeatureId,
    Json,
    ModelName,
    Seed,
    Top,
    load,
)
from apps.cli.output import emit, error_said, table
from apps.cli.progress import progress_bars

app = typer.Typer(no_args_is_help=True)


@app.command(
    rich_help_panel=EVALUATE,
    epilog='Example: steer score 1176 --words "than,larger,better,longer"',
)
def score(
    feature: FeatureId,
    words: Annotated[
        str | None, typer.Option(help="Words that show the concept, with commas between.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Or a regular expression that finds it.")
    ] = None,
    edit: Annotated[str, typer.Option(help="add or clamp.")] = "add",
    factor: Annotated[
        list[float] | None, typer.Option(help="Multiples of its maximum to try; repeat it.")
    ] = None,
    instruction: Annotated[
        list[str] | None, typer.Option(help="Four or more of your own; repeat it.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="Ask a judge instead: an OpenAI-compatible URL, with --judge, --concept."
        ),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option("--judge", help="The judge's name at the endpoint.")
    ] = None,
    description: Annotated[
        str | None, typer.Option("--concept", help="What the judge is to look for.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Samples of each answer.")] = 1,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", help="Tokens of each answer.")
    ] = 64,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    r"""How well a feature steers: concept, instruction and fluency, each rated 0 to 2.

    The factor is chosen on half of the instructions and reported on the other. Without --words or
    --pattern, the concept is what the feature fires on. The instruction is rated by sentence
    embeddings: pip install 'sae-steer\[evals]'.
    """
    from apps.studies.steering_score import asked, offline, steering_of, title_of
    from steer.evals.steering.answers import INSTRUCTIONS
    from steer.evals.steering.feature_scores import feature_scores
    from steer.evals.steering.score import FACTORS, steering_score

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        sae = loaded.dictionary(dictionary)
        sae.check_features([feature])
        if endpoint is None and judge_model is None and description is None:
            judges = offline(loaded, sae, feature, words, pattern)
        else:
            judges = asked(endpoint, judge_model, description, words or pattern)
        found = steering_score(
            loaded,
            steering_of(edit, sae, feature),
            judges,
            instructions=tuple(instruction or INSTRUCTIONS),
            factors=tuple(factor or FACTORS),
            seeds=tuple(range(seeds)),
            max_new_tokens=max_new_tokens,
            dictionaries=[sae],
            progress=progress,
        )
        scores = feature_scores(loaded, sae, [feature])
    data = {
        "feature": feature,
        "edit": edit,
        "output_score": scores.output.item(),
        "input_score": scores.input.item(),
        "error": "keep",
        **found.to_dict(),
    }
    emit(
        json_output,
        data,
        lambda: [title_of(found, data), table(data["factors"]), error_said([data["error"]])],
    )


@app.command(
    rich_help_panel=EVALUATE,
    epilog="Example: steer select --at-least 0.1 --top 20",
)
def select(
    at_least: Annotated[float, typer.Option(help="The least output score, 0 to 1.")] = 0.1,
    top: Top = 20,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Features that can be expected to steer, by their output score (Arad et al. 2025)."""
    from apps.cli.views import shown
    from steer.evals.steering.feature_scores import feature_scores

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        found = feature_scores(loaded, loaded.dictionary(dictionary), progress=progress)
    chosen = found.at_least(at_least)
    rows: list[dict[str, Any]] = [
        {
            "feature": feature,
            "output_score": found.output[feature].item(),
            "input_score": found.input[feature].item(),
            "promotes": [loaded.token(token) for token in found.lens[feature, :5].tolist()],
        }
        for feature in chosen[:top]
    ]
    data = {"passed": len(chosen), "of": len(found.features), "features": rows}
    title = f"{len(chosen)} of {len(found.features)} features have an output score ≥ {at_least:g}"
    seen = [{**row, "promotes": "  ".join(map(shown, row["promotes"]))} for row in rows]
    emit(json_output, data, lambda: [title, *([table(seen)] if seen else [])])


@app.command(rich_help_panel=EVALUATE, epilog="Example: steer calibrate")
def calibrate(
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    features: Annotated[int, typer.Option(min=1, help="How many random features.")] = 24,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """How far features can be pushed before text falls apart."""
    from apps.cli.views import dose_view
    from apps.studies.calibrate import calibrate as measure
    from apps.studies.calibrate import to_dicts

    with progress_bars(not json_output) as progress:
        loaded = load(model, dtype, progress)
        sae = loaded.dictionary(dictionary)
        points = measure(loaded, sae, features=features, seed=seed, progress=progress)
    emit(json_output, to_dicts(points), lambda: [dose_view(points), error_said(["keep"])])

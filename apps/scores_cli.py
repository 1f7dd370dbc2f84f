"""Commands that score steering: `steer score` and `steer select`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.progress import progress_bars

if TYPE_CHECKING:
    from dictionaries.base import Dictionary
    from steer.evals.judges import Judges
    from steer.evals.steering import SteeringScore
    from steer.model import Model

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
ModelName = Annotated[
    str, typer.Option("--model", help="smollm2-135m, a folder, or a hub id org/name.")
]
DictionaryName = Annotated[str, typer.Option("--dictionary", help="A catalogue name or a folder.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")]
_DEFAULT = "smollm2-135m/resid_post.20"
_MODEL = "smollm2-135m"


@app.command(
    epilog='Example: steer score 1176 --words "than,larger,better,longer" --dtype bfloat16'
)
def score(
    feature: Annotated[int, typer.Argument(help="A feature's index.")],
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
    dictionary: DictionaryName = _DEFAULT,
    model: ModelName = _MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """How well a feature steers: concept, instruction and fluency, each rated 0 to 2.

    The factor is chosen on half of the instructions and reported on the other. Without --words or
    --pattern, the concept is what the feature fires on. The instruction is rated by sentence
    embeddings: pip install 'sae-steer[evals]'.
    """
    from steer.evals.answers import INSTRUCTIONS
    from steer.evals.arad import feature_scores
    from steer.evals.steering import FACTORS, steering_score

    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        sae = loaded.dictionary(dictionary)
        sae.check_features([feature])
        if endpoint is None and judge_model is None and description is None:
            judges = _offline(loaded, sae, feature, words, pattern)
        else:
            judges = _asked(endpoint, judge_model, description, words or pattern)
        found = steering_score(
            loaded,
            _steering(edit, sae, feature),
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
        **found.to_dict(),
    }
    _emit(json_output, data, _title(found, data), "factors")


@app.command(epilog="Example: steer select --at-least 0.1 --top 20 --dtype bfloat16")
def select(
    at_least: Annotated[float, typer.Option(help="The least output score, 0 to 1.")] = 0.1,
    top: Annotated[int, typer.Option(min=1, help="Features to show.")] = 20,
    dictionary: DictionaryName = _DEFAULT,
    model: ModelName = _MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Features that can be expected to steer, by their output score (Arad et al. 2025)."""
    from steer.evals.arad import feature_scores

    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        found = feature_scores(loaded, loaded.dictionary(dictionary), progress=progress)
    chosen = found.at_least(at_least)
    rows = [
        {
            "feature": feature,
            "output_score": found.output[feature].item(),
            "input_score": found.input[feature].item(),
            "promotes": "  ".join(
                loaded.token(token) for token in found.lens[feature, :5].tolist()
            ),
        }
        for feature in chosen[:top]
    ]
    data = {"passed": len(chosen), "of": len(found.features), "features": rows}
    title = f"{len(chosen)} of {len(found.features)} features have an output score ≥ {at_least:g}"
    _emit(json_output, data, title, "features")


# -- shared ------------------------------------------------------------------------------------


def _load(name: str, dtype: str, progress: Any) -> Model:
    from apps.options import load

    return load(name, dtype, progress)


def _offline(
    model: Model, dictionary: Dictionary, feature: int, words: str | None, pattern: str | None
) -> Judges:
    from steer.errors import SteerError
    from steer.evals.judges import Fires, Fluency, Judge, Judges, Mentions, Relevance

    if words is not None and pattern is not None:
        raise SteerError("give --words or --pattern, not both")
    concept: Judge = Fires(model, dictionary, feature)
    if pattern is not None:
        concept = Mentions(pattern)
    elif words is not None:
        concept = Mentions.of_words(words.split(","))
    return Judges(concept, Relevance(), Fluency(model))


def _asked(
    endpoint: str | None, judge: str | None, concept: str | None, offline: str | None
) -> Judges:
    from apps.judge import EndpointJudge
    from steer.errors import SteerError
    from steer.evals.lm_ratings import lm_judges

    if not (endpoint and judge and concept):
        raise SteerError("a judge needs all of --endpoint, --judge and --concept")
    if offline:
        raise SteerError("give --words or --pattern, or a judge to ask, not both")
    return lm_judges(EndpointJudge(endpoint, judge), concept)


def _steering(edit: str, dictionary: Dictionary, feature: int) -> Any:
    from steer.errors import SteerError
    from steer.evals.steering import add, clamp

    kinds = {"add": add, "clamp": clamp}
    if edit not in kinds:
        raise SteerError(f"--edit {edit} is unknown; allowed: {', '.join(kinds)}")
    return kinds[edit](dictionary, feature)


def _title(found: SteeringScore, data: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {value.mean:.2f}" for name, value in found.reported().items())
    return (
        f"feature {data['feature']}, {data['edit']} {found.factor:g}x max: score {found.score} of "
        f"2 ({parts}); unsteered {found.baseline}; output score {data['output_score']:.3f}, "
        f"input score {data['input_score']:.2f}"
    )


def _emit(as_json: bool, data: dict[str, Any], title: str, rows: str) -> None:
    if as_json:
        print(json.dumps(_finite(data), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    shown = data[rows]
    for column in shown[0] if shown else ():
        table.add_column(column)
    for row in shown:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    console = Console()
    console.print(title, markup=False, highlight=False)
    if shown:
        console.print(table)


def _finite(data: Any) -> Any:
    """NaN as None, which JSON has a word for."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and data != data else data

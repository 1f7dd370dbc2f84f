"""`steer labels make` and `steer labels judge`: labels made here, by rules or by a judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.dictionaries_cli import DictionaryName, Json, ModelName, _emit, _load
from apps.progress import progress_bars

if TYPE_CHECKING:
    from steer.evals.interpret import Judge

app = typer.Typer(no_args_is_help=True)

_DEFAULT = "smollm2-135m/resid_post.20"
_MODEL = "smollm2-135m"
RecipeName = Annotated[
    str, typer.Option(help="Whose corpus is read: a recipe file, or a shipped one's name.")
]
Work = Annotated[
    Path | None, typer.Option(help="Where `steer train` keeps the recipe's activations.")
]
Out = Annotated[
    Path | None, typer.Option(help="A folder to write to, if not beside the dictionary.")
]


@app.command("make", epilog="Example: steer labels make smollm2-135m/resid_post.20")
def make(
    name: Annotated[str, typer.Argument(help="A catalogue name or a folder.")] = _DEFAULT,
    recipe: RecipeName = _MODEL,
    work: Work = None,
    out: Out = None,
    json_output: Json = False,
) -> None:
    """Label every feature by the readable rule that best predicts where it is active.

    A rule looks at tokens: "ends in ing", "after of". Its precision, recall and F1 are measured
    on text that it was not chosen on. Labels from elsewhere are kept.
    """
    from apps.labelling import SOURCE, make_labels
    from apps.recipe import load_recipe
    from dictionaries import catalogue
    from dictionaries.labels import Labels

    loaded, chosen = catalogue.load(name), load_recipe(recipe)
    with progress_bars(not json_output) as progress:
        made = make_labels(loaded, chosen, work=work, progress=progress)
    folder = out or catalogue.find(name)
    written = Labels.load(folder).without_source(SOURCE).merged(made).save(folder)
    good = sum((label.f1 or 0) > 0.8 for label in made) / max(1, len(made))
    data = {
        "written": str(written),
        "labels": len(made),
        "features": loaded.width,
        "share_f1_above_0.8": good,
    }
    line = f"{len(made)} of {loaded.width} features labelled, {good:.1%} with F1 above 0.8"
    _emit(json_output, data, lambda: f"{line}; written: {written}")


@app.command(
    "judge", epilog="Example: steer labels judge --endpoint http://127.0.0.1:8000/v1 --judge qwen"
)
def judge(
    features: Annotated[list[int], typer.Option("--feature", help="Which; may be repeated.")],
    endpoint: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible URL; the local model if left out.")
    ] = None,
    judge_model: Annotated[
        str, typer.Option("--judge", help="The judge's name at the endpoint.")
    ] = "gpt-4o-mini",
    score: Annotated[str, typer.Option(help="detect or simulate.")] = "detect",
    dictionary: DictionaryName = _DEFAULT,
    model: ModelName = _MODEL,
    recipe: RecipeName = _MODEL,
    work: Work = None,
    out: Out = None,
    seed: Annotated[int, typer.Option(help="Of the fragments drawn.")] = 0,
    json_output: Json = False,
) -> None:
    """Let a language model explain features, and score its explanations; kept as labels.

    The endpoint's key, if it needs one, is read from STEER_JUDGE_KEY or OPENAI_API_KEY.
    """
    from apps.judge import EndpointJudge, LocalJudge
    from apps.judged_labels import judged_labels
    from apps.recipe import load_recipe
    from dictionaries import catalogue
    from dictionaries.labels import Labels

    with progress_bars(not json_output) as progress:
        ask: Judge = (
            EndpointJudge(endpoint, judge_model)
            if endpoint
            else LocalJudge(_load(model, "float32", progress))
        )
        source = f"judge {judge_model if endpoint else model}"
        made = judged_labels(
            catalogue.load(dictionary),
            load_recipe(recipe),
            features,
            ask,
            source=source,
            score=score,
            seed=seed,
            work=work,
            progress=progress,
        )
    folder = out or catalogue.find(dictionary)
    written = Labels.load(folder).merged(made).save(folder)
    rows = [label.to_dict() for label in made]
    _emit(json_output, rows, lambda: "\n".join(map(str, rows)) + f"\nwritten: {written}")

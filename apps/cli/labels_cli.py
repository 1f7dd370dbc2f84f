"""`steer labels`: what features are said to mean, from elsewhere, by rules or by a judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.options import DICTIONARY, MODEL, DictionaryName, Json, ModelName, Top, load
from apps.cli.output import emit, table
from apps.cli.progress import progress_bars

if TYPE_CHECKING:
    from steer.interpretation.judged import Judge

app = typer.Typer(no_args_is_help=True, help="What features are said to mean.")

RecipeName = Annotated[
    str, typer.Option(help="Whose corpus is read: a recipe file, or a shipped one's name.")
]
Work = Annotated[
    Path | None, typer.Option(help="Where `steer train` keeps the recipe's activations.")
]
Out = Annotated[
    Path | None, typer.Option(help="A folder to write to, if not beside the dictionary.")
]


@app.command("import", epilog="Example: steer labels import batch-0.jsonl.gz")
def import_labels(
    file: Annotated[
        Path, typer.Argument(help="Neuronpedia's export (JSON, JSONL, a folder of batches) or CSV.")
    ],
    dictionary: DictionaryName = DICTIONARY,
    origin: Annotated[
        str | None, typer.Option(help="model/source, where the file holds several.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Keep labels beside a dictionary; those of the same sources are replaced."""
    from dictionaries import catalogue
    from dictionaries.label_imports import read_labels

    found = read_labels(file, origin)
    loaded = catalogue.load(dictionary)
    found.check(loaded)
    kept = loaded.labels
    for source in {label.source for label in found.labels}:
        kept = kept.without_source(source)
    written = kept.merged(found.labels).save(catalogue.find(dictionary))
    data = {
        "written": str(written),
        "imported": len(found.labels),
        "blank": found.blank,
        "kept": len(kept),
    }
    line = f"{len(found.labels)} labels imported, {found.blank} rows without text left out"
    emit(json_output, data, lambda: f"{line}; written: {written}")


@app.command("search", epilog="Example: steer labels search bridge")
def search_labels(
    words: Annotated[str, typer.Argument(help="Every word, or one that begins so, must be there.")],
    dictionary: DictionaryName = DICTIONARY,
    top: Top = 20,
    json_output: Json = False,
) -> None:
    """Features whose label has the words."""
    from dictionaries import catalogue
    from dictionaries.errors import DictionaryError

    labels = catalogue.labels(dictionary)
    if not len(labels):
        raise DictionaryError(f"{dictionary} has no labels: steer labels import FILE")
    found = labels.search(words, top)
    rows = [label.to_dict() for label in found]
    measured = ("f1",) if any(label.f1 is not None for label in found) else ()
    shown = ("feature", "text", *measured, "source")
    brief = [{name: getattr(label, name) for name in shown} for label in found]
    emit(json_output, rows, lambda: table(brief) if brief else "no label has these words")


@app.command("make", epilog="Example: steer labels make smollm2-135m/resid_post.20")
def make(
    name: Annotated[str, typer.Argument(help="A catalogue name or a folder.")] = DICTIONARY,
    recipe: RecipeName = MODEL,
    work: Work = None,
    out: Out = None,
    json_output: Json = False,
) -> None:
    """Label every feature by the readable rule that best predicts where it is active.

    A rule looks at tokens: "ends in ing", "after of". Its precision, recall and F1 are measured
    on text that it was not chosen on. Labels from elsewhere are kept.
    """
    from apps.labels.detected import SOURCE, make_labels
    from apps.training.recipe import load_recipe
    from dictionaries import catalogue
    from dictionaries.beside.labels import Labels

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
    emit(json_output, data, lambda: f"{line}; written: {written}")


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
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    recipe: RecipeName = MODEL,
    work: Work = None,
    out: Out = None,
    seed: Annotated[int, typer.Option(help="Of the fragments drawn.")] = 0,
    json_output: Json = False,
) -> None:
    """Let a language model explain features, and score its explanations; kept as labels.

    The endpoint's key, if it needs one, is read from STEER_JUDGE_KEY or OPENAI_API_KEY.
    """
    from apps.labels.endpoint import EndpointJudge, LocalJudge
    from apps.labels.judged import judged_labels
    from apps.training.recipe import load_recipe
    from dictionaries import catalogue
    from dictionaries.beside.labels import Labels

    with progress_bars(not json_output) as progress:
        ask: Judge = (
            EndpointJudge(endpoint, judge_model)
            if endpoint
            else LocalJudge(load(model, "float32", progress))
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
    emit(json_output, rows, lambda: "\n".join(map(str, rows)) + f"\nwritten: {written}")

"""`steer labels judge`: labels by a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.command import command
from apps.cli.options.given import Given
from apps.cli.options.labelling import Labelling
from apps.cli.options.run import Float32
from apps.cli.options.single import DICTIONARY, DictionaryName
from apps.cli.options.work import Sharded

if TYPE_CHECKING:
    from steer.interpretation.judged import Judge


@command("steer labels judge --feature 1176 --endpoint http://127.0.0.1:8000/v1 --judge qwen")
def judge(
    *,
    features: Annotated[list[int], typer.Option("--feature", help="Which; may be repeated.")],
    endpoint: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible URL; the local model if left out.")
    ] = None,
    judge_model: Annotated[
        str, typer.Option("--judge", help="The judge's name at the endpoint.")
    ] = "gpt-4o-mini",
    score: Annotated[str, typer.Option(help="detect or simulate.")] = "detect",
    dictionary: DictionaryName = DICTIONARY,
    run: Float32,
    labelling: Labelling,
    sharded: Sharded,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the fragments drawn.")] = 0,
    given: Given,
) -> None:
    """Let a language model explain features, and score its explanations; kept as labels.

    The endpoint's key, if it needs one, is read from STEER_JUDGE_KEY or OPENAI_API_KEY.
    """
    from apps.labels.endpoint import EndpointJudge, LocalJudge, check_endpoint
    from apps.labels.judged import judged_labels
    from apps.training.recipe import load_recipe
    from dictionaries import catalogue
    from dictionaries.beside.labels import Labels
    from steer.loading import load

    sharded.check(("--out", labelling.out))
    if endpoint:
        given.refuse("the judge at --endpoint is asked", "--model")
        check_endpoint(endpoint)
    else:
        given.refuse("without --endpoint the local --model is asked", "--judge")
    with run.progress() as progress:
        ask: Judge = (
            EndpointJudge(endpoint, judge_model)
            if endpoint
            else LocalJudge(load(run.model, dtype=run.dtype, progress=progress))
        )
        made = judged_labels(
            catalogue.load(dictionary),
            load_recipe(labelling.recipe),
            features,
            ask,
            source=f"judge {judge_model if endpoint else run.model}",
            score=score,
            seed=seed,
            work=labelling.work,
            **sharded.spread,
            progress=progress,
        )
    if sharded.told(run.emit):
        return
    folder = labelling.out or catalogue.find(dictionary)
    written = Labels.load(folder).merged(made).save(folder)
    rows = [label.to_dict() for label in made]
    run.emit(rows, lambda: "\n".join(map(str, rows)) + f"\nwritten: {written}")

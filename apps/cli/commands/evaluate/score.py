"""`steer score`: how well a feature steers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.run import Reading
from apps.cli.options.single import FeatureId
from apps.cli.output import error_said, table


@dataclass(frozen=True)
class Concept:
    """What shows the concept in an answer."""

    words: Annotated[
        str | None, typer.Option(help="Words that show the concept, with commas between.")
    ] = None
    pattern: Annotated[str | None, typer.Option(help="Or a regular expression that finds it.")] = (
        None
    )


@dataclass(frozen=True)
class Asked:
    """A judge behind an endpoint."""

    endpoint: Annotated[
        str | None,
        typer.Option(
            help="Ask a judge instead: an OpenAI-compatible URL, with --judge, --concept."
        ),
    ] = None
    judge_model: Annotated[
        str | None, typer.Option("--judge", help="The judge's name at the endpoint.")
    ] = None
    description: Annotated[
        str | None, typer.Option("--concept", help="What the judge is to look for.")
    ] = None


@command('steer score 1176 --words "than,larger,better,longer"')
def score(
    *,
    feature: FeatureId,
    concept: Concept,
    edit: Annotated[str, typer.Option(help="add or clamp.")] = "add",
    factor: Annotated[
        list[float] | None, typer.Option(help="Multiples of its maximum to try; repeat it.")
    ] = None,
    instruction: Annotated[
        list[str] | None, typer.Option(help="Four or more of your own; repeat it.")
    ] = None,
    asked: Asked,
    seeds: Annotated[int, typer.Option(min=1, help="Samples of each answer.")] = 1,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", help="Tokens of each answer.")
    ] = 64,
    run: Reading,
) -> None:
    r"""How well a feature steers: concept, instruction and fluency, each rated 0 to 2.

    The factor is chosen on half of the instructions and reported on the other. Without --words or
    --pattern, the concept is what the feature fires on. The instruction is rated by sentence
    embeddings: pip install 'sae-steer\[evals]'.
    """
    from apps.cli.views.evaluate import score_title
    from apps.labels.endpoint import check_endpoint
    from apps.studies import steering_score as study
    from dictionaries.extras import need
    from steer.evals.steering import embeddings
    from steer.evals.steering.answers import INSTRUCTIONS
    from steer.evals.steering.feature_scores import feature_scores
    from steer.evals.steering.score import FACTORS, steering_score

    if asked == Asked():
        need(embeddings.PACKAGE)
    elif asked.endpoint:
        check_endpoint(asked.endpoint)
    with run.loaded() as (model, progress):
        dictionary = model.dictionary(run.dictionary)
        dictionary.check_features([feature])
        if asked == Asked():
            judges = study.offline(model, dictionary, feature, concept.words, concept.pattern)
        else:
            judges = study.asked(
                asked.endpoint,
                asked.judge_model,
                asked.description,
                concept.words or concept.pattern,
            )
        scored = steering_score(
            model,
            study.steering_of(edit, dictionary, feature),
            judges,
            instructions=tuple(instruction or INSTRUCTIONS),
            factors=tuple(factor or FACTORS),
            seeds=tuple(range(seeds)),
            max_new_tokens=max_new_tokens,
            dictionaries=[dictionary],
            progress=progress,
        )
        expected = feature_scores(model, dictionary, [feature])
    document = {
        "feature": feature,
        "edit": edit,
        "output_score": expected.output.item(),
        "input_score": expected.input.item(),
        "error": "keep",
        **scored.to_dict(),
    }
    run.emit(
        document,
        lambda: [
            score_title(scored, document),
            table(document["factors"]),
            error_said([document["error"]]),
        ],
    )

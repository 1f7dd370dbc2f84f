"""`steer select`: features that can be expected to steer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from apps.cli.command import command
from apps.cli.options.run import Reading
from apps.cli.options.single import Top
from apps.cli.output import table
from steer.shown import visible


@command("steer select --at-least 0.1 --top 20")
def select(
    *,
    at_least: Annotated[
        float, typer.Option(min=0, max=1, help="The least output score, 0 to 1.")
    ] = 0.1,
    top: Top = 20,
    run: Reading,
) -> None:
    """Features that can be expected to steer, by their output score (Arad et al. 2025)."""
    from steer.evals.steering.feature_scores import feature_scores

    with run.loaded() as (model, progress):
        scores = feature_scores(model, model.dictionary(run.dictionary), progress=progress)
    chosen, of = scores.at_least(at_least), len(scores.features)
    rows: list[dict[str, Any]] = [
        {
            "feature": feature,
            "output_score": scores.output[feature].item(),
            "input_score": scores.input[feature].item(),
            "promotes": [model.token(token) for token in scores.lens[feature, :5].tolist()],
        }
        for feature in chosen[:top]
    ]
    title = f"{len(chosen)} of {of} features have an output score ≥ {at_least:g}"
    brief = [{**row, "promotes": "  ".join(map(visible, row["promotes"]))} for row in rows]
    run.emit(
        {"passed": len(chosen), "of": of, "features": rows},
        lambda: [title, *([table(brief)] if brief else [])],
    )

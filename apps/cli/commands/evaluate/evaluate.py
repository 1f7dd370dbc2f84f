"""`steer evaluate`: edited models on lm-eval's tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.evaluation import Compared, Harness
from apps.cli.options.run import Reading
from apps.cli.options.work import Work
from dictionaries.extras import need


@command("steer evaluate --tasks ioi,gender --clamp 4973=1x --limit 50")
def evaluate(
    *,
    tasks: Annotated[
        list[str],
        typer.Option(
            "--tasks",
            help="ioi,agreement,gender,sentiment, a file my.yaml, or tasks that lm-eval knows.",
        ),
    ],
    compared: Compared,
    run: Reading,
    harness: Harness,
    work: Work,
) -> None:
    """Scores of the model with and without edits, paired tests of the differences, and receipts.

    Edits by option (--clamp and so on) act together, as one; without any, the baseline is scored.
    """
    need("lm_eval")
    from apps.cli.views.evaluate import evaluation_view
    from steer.evals.lm_eval.compare import evaluate as measure

    edits = compared.named(run.dictionary)
    with run.loaded() as (model, progress):
        evaluation = measure(
            model,
            [name for several in tasks for name in several.split(",") if name],
            edits,
            **vars(harness),
            **work.spread,
            progress=progress,
        )
    if work.told(run.emit):
        return
    run.emit(evaluation.to_dict(), lambda: evaluation_view(evaluation))

"""What the commands that evaluate show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from apps.cli.output import table

if TYPE_CHECKING:
    from apps.studies.calibrate import DosePoint
    from steer.evals.lm_eval.compare import Evaluation
    from steer.evals.steering.score import SteeringScore


def evaluation_view(evaluation: Evaluation) -> RenderableType:
    """A table for each score, a line for each edit in each task; the baseline alone if no edits."""
    settings = evaluation.settings
    head = Text(f"{settings['model']}, {settings['dtype']}, lm-eval {settings['lm_eval']}", "dim")
    if not evaluation.differences:
        scores = [
            {"task": task, "metric": metric, "score ± standard error": str(score), "n": score.n}
            for (task, metric), score in evaluation.baseline.items()
        ]
        return Group(head, table(scores))
    parts: list[RenderableType] = [head]
    for (task, metric), score in evaluation.baseline.items():
        title = f"{task} {metric}: {score} unedited, n={score.n}"
        changes = [
            {
                "edit": difference.edit,
                "change ± s.e.": f"{difference.difference:+.3g} ± {difference.stderr:.2g}",
                "95%": f"{difference.low:+.3g} to {difference.high:+.3g}",
                "p": difference.p,
                "q": difference.q,
            }
            for difference in evaluation.differences
            if (difference.task, difference.metric) == (task, metric)
        ]
        parts.append(table(changes, title))
    parts += [
        Text(f"{task}, {edit}: {line}", "bold red" if " did nothing" in line else "")
        for (edit, task), tally in evaluation.tallies.items()
        for line in str(tally).splitlines()
    ]
    return Group(*parts, Text(_NOTE, "dim"))


def score_title(score: SteeringScore, document: dict[str, Any]) -> str:
    """A line: the score, its parts, and what it is to be compared with."""
    parts = ", ".join(f"{name} {value.mean:.2f}" for name, value in score.reported().items())
    return (
        f"feature {document['feature']}, {document['edit']} {score.factor:g}x max: "
        f"score {score.score} of 2 ({parts}); unsteered {score.baseline}; "
        f"output score {document['output_score']:.3f}, input score {document['input_score']:.2f}"
    )


def dose_view(points: Sequence[DosePoint]) -> RenderableType:
    """One row a dose."""
    return table(
        [
            {
                "‖Δ‖/‖x‖": point.dose,
                "loss under the untouched model": point.loss,
                "distinct word pairs": point.distinct,
                "texts": point.texts,
            }
            for point in points
        ]
    )


_NOTE = (
    "p is paired, over documents: exact McNemar for right or wrong, else sign flips; q is p "
    "adjusted for all rows (Benjamini-Hochberg); margin is log p(right) - log p(best wrong), nats. "
    "The changes are against the unedited model; whether a random direction of the edit's size "
    "would do as much, `steer effects` says."
)

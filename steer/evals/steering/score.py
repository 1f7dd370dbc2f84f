"""Steering scores of AxBench's shape: does an edit bring a concept into answers that stay answers?

Each answer is rated 0 to 2 for the concept, for following the instruction and for fluency; its
score is the harmonic mean, so that one 0 makes it 0. A method is tried at many factors; the factor
is chosen on one half of the instructions and the score reported on the other (Wu et al. 2025,
AxBench, section 4.2). Ratings are of `steer.evals.steering.judges`: scores are comparable
only where the judges are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Add, Clamp, Intervention
from steer.errors import SteerError
from steer.evals.steering.answers import INSTRUCTIONS, Answer, Question, answers
from steer.evals.steering.judges import TOP, Judges
from steer.maths.statistics import Interval, interval
from steer.model import Model
from steer.progress import Progress
from steer.shown import Shown

if TYPE_CHECKING:
    import pandas


FACTORS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0)
"""AxBench's, in multiples of the feature's largest activation."""
RATINGS = ("concept", "instruction", "fluency")
POSITIONS = "1:"
"""Every token but the first, whose massive activation no edit of this size moves."""

Steering = Callable[[float], tuple[Intervention, ...]]
"""A factor -> the edit of that strength."""


def harmonic_mean(ratings: Tensor) -> Tensor:
    """Ratings [..., k], 0 to 2 -> [...]; 0 where any of them is 0.

    Raises `SteerError` for a rating outside of 0 to 2.
    """
    if not bool(((ratings >= 0) & (ratings <= TOP)).all()):
        raise SteerError(f"ratings must be 0 to {TOP:g}: a judge gave something else")
    k = ratings.shape[-1]
    positive = (ratings > 0).all(-1)
    inverse = 1 / torch.where(positive.unsqueeze(-1), ratings, 1.0)
    return torch.where(positive, k / inverse.sum(-1), 0.0)


def halves(n: int) -> tuple[list[int], list[int]]:
    """Places 0 ... n − 1 that select the factor (even ones), and that report."""
    return list(range(0, n, 2)), list(range(1, n, 2))


@dataclass(frozen=True, eq=False, repr=False)
class SteeringScore(Shown):
    """How one method steers, for f factors, n instructions and s seeds.

    ratings [f, n, s, 3]: concept, instruction and fluency of each answer; unsteered [n, s, 3].
    answers [f][n][s]: what was rated.
    """

    factors: tuple[float, ...]
    instructions: tuple[str, ...]
    ratings: Tensor
    unsteered: Tensor
    answers: tuple[tuple[tuple[Answer, ...], ...], ...]

    def _title(self) -> str:
        return f"SteeringScore {self.score} of 2 at {self.factor:g}x max; unsteered {self.baseline}"

    @property
    def overall(self) -> Tensor:
        """Harmonic mean of each answer, averaged over the seeds, [f, n]."""
        return harmonic_mean(self.ratings).mean(-1)

    @property
    def chosen(self) -> int:
        """Place of the factor with the best mean on the selecting half; the weakest of equals."""
        select, _ = halves(len(self.instructions))
        return int(self.overall[:, select].mean(1).argmax())

    @property
    def factor(self) -> float:
        return self.factors[self.chosen]

    @property
    def score(self) -> Interval:
        """The chosen factor's mean on the reporting half, with its interval over instructions."""
        _, report = halves(len(self.instructions))
        return interval(self.overall[self.chosen, report])

    @property
    def baseline(self) -> Interval:
        """The unsteered model's score on the reporting half."""
        _, report = halves(len(self.instructions))
        return interval(harmonic_mean(self.unsteered).mean(-1)[report])

    def reported(self) -> dict[str, Interval]:
        """Each rating of the chosen factor on the reporting half."""
        _, report = halves(len(self.instructions))
        means = self.ratings[self.chosen, report].mean(1)
        return {name: interval(means[:, column]) for column, name in enumerate(RATINGS)}

    def to_frame(self) -> pandas.DataFrame:
        """One row a factor and half, 0 being the unsteered model: means of ratings and overall."""
        import pandas

        everything = torch.cat([self.unsteered.unsqueeze(0), self.ratings])
        rows = []
        for number, factor in enumerate((0.0, *self.factors)):
            for half, places in zip(
                ("select", "report"), halves(len(self.instructions)), strict=True
            ):
                part = everything[number, places].flatten(0, 1)
                means = dict(zip(RATINGS, part.mean(0).tolist(), strict=True))
                overall = harmonic_mean(part).mean().item()
                rows.append({"factor": factor, "half": half, **means, "overall": overall})
        return pandas.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: the score, its parts, the curve and the reported answers."""
        from dataclasses import asdict

        _, report = halves(len(self.instructions))
        return {
            "factor": self.factor,
            "score": asdict(self.score),
            "unsteered": asdict(self.baseline),
            **{name: asdict(value) for name, value in self.reported().items()},
            "factors": self.to_frame().to_dict("records"),
            "answers": [
                {"instruction": self.instructions[place], "text": answer.text}
                for place in report
                for answer in self.answers[self.chosen][place]
            ],
        }


def add(dictionary: Dictionary, feature: int) -> Steering:
    """AxBench's edit: factor × the feature's maximum is added to its activation, everywhere."""
    return lambda factor: _one(dictionary, Add(feature, f"{factor!r}x max", positions=POSITIONS))


def clamp(dictionary: Dictionary, feature: int) -> Steering:
    """The activation is set to factor × the feature's maximum, everywhere."""
    return lambda factor: _one(dictionary, Clamp(feature, f"{factor!r}x max", positions=POSITIONS))


def _one(dictionary: Dictionary, edit: Add | Clamp) -> tuple[Intervention, ...]:
    return (Intervention(dictionary.name, [edit]),)


def steering_score(
    model: Model,
    steering: Steering,
    judges: Judges,
    *,
    instructions: Sequence[str] = INSTRUCTIONS,
    factors: Sequence[float] = FACTORS,
    seeds: Sequence[int] = (0,),
    max_new_tokens: int = 64,
    batch: int = 96,
    dictionaries: Sequence[Dictionary] = (),
    progress: Progress | None = None,
) -> SteeringScore:
    """Answer every instruction at every factor, as rows of few batches, and rate the answers.

    The judges see unsteered answers of the selecting half alone, so that nothing of the reporting
    half bears on the factor. Raises `SteerError` for fewer than four instructions, no factor or no
    seed, and what the judges and `Model.plans` raise.
    """
    _check(instructions, factors, seeds)
    asked = [Question.ask(model, instruction) for instruction in instructions]
    edits = [(), *(steering(factor) for factor in factors)]
    rows: list[list[Answer]] = []
    for number, seed in enumerate(seeds):
        rows.append(
            answers(
                model,
                [question for _ in edits for question in asked],
                [edit for edit in edits for _ in asked],
                max_new_tokens=max_new_tokens,
                seed=seed,
                batch=batch,
                dictionaries=dictionaries,
                progress=progress if len(seeds) == 1 else None,
            )
        )
        if progress and len(seeds) > 1:
            progress("answering", number + 1, len(seeds))
    n = len(asked)
    select, _ = halves(n)
    shown = [row[place] for row in rows for place in select]
    flat = [row[place] for place in range(len(edits) * n) for row in rows]
    ratings = torch.stack([judge(shown)(flat) for judge in _each(judges)], dim=-1).double()
    shaped = ratings.view(len(edits), n, len(seeds), len(RATINGS))
    grouped = [tuple(flat[i : i + len(seeds)]) for i in range(0, len(flat), len(seeds))]
    by_factor = tuple(tuple(grouped[i : i + n]) for i in range(n, len(grouped), n))
    return SteeringScore(tuple(factors), tuple(instructions), shaped[1:], shaped[0], by_factor)


def _each(judges: Judges) -> tuple[Any, ...]:
    return judges.concept, judges.instruction, judges.fluency


def _check(instructions: Sequence[str], factors: Sequence[float], seeds: Sequence[int]) -> None:
    if isinstance(instructions, str) or len(instructions) < 4:
        raise SteerError("a steering score needs four instructions or more: half of them select")
    for name, given in (("factors", factors), ("seeds", seeds)):
        if not given or len(set(given)) != len(given):
            raise SteerError(f"{name} must be one or more different numbers, not {given!r}")

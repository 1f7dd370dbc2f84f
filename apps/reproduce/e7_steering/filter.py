"""The second half of E7: do features with a high output score steer better than others?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from apps.reproduce.e7_steering.bench import Bench
from apps.reproduce.kept.results import parts_of_each
from apps.reproduce.settings import Settings
from steer.edits import Intervention
from steer.evals.steering.answers import Answer, Question, answers
from steer.evals.steering.feature_scores import feature_scores
from steer.evals.steering.judges import Fires
from steer.evals.steering.score import SteeringScore, add, halves

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary

FACTORS = (0.5, 1.0, 2.0)
"""Multiples of each feature's maximum; the best is chosen on half of the instructions."""
THRESHOLDS = (0.01, 0.1)
"""Of the output score."""
_ASKED = 6
_TOGETHER = 8
"""Instructions, and features that are steered in one go."""


@dataclass(frozen=True, eq=False)
class Filter:
    """Random features with their output score and how they steered.

    output, input [n]: scores of Arad et al.
    overall, concept, fluency [n]: means on the reporting half, 0 to 2.
    """

    features: tuple[int, ...]
    output: Tensor
    input: Tensor
    overall: Tensor
    concept: Tensor
    fluency: Tensor
    seed: int
    description: str

    def kept(self, threshold: float) -> Tensor:
        """Mask [n] of the features that pass."""
        return self.output >= threshold


@dataclass(frozen=True)
class Rated:
    """How one feature steered: means on the reporting half, and its chosen factor."""

    feature: int
    overall: float
    concept: float
    fluency: float
    factor: float


def steer_random_features(settings: Settings, bench: Bench) -> Filter:
    """Add random features at every factor, choose the factor, and rate.

    The concept of a feature without a label is what it fires on: whether the untouched model,
    reading the answer, finds the feature there.
    """
    chosen = _draw(bench.dictionary, settings.count(48, 4), settings.seed)
    scores = feature_scores(bench.model, bench.dictionary, chosen)
    asked = [Question.ask(bench.model, instruction) for instruction in bench.instructions[:_ASKED]]
    tokens = max(4, bench.new_tokens * 3 // 4)
    unsteered = _answers(bench, asked, [()], tokens)
    shared = bench.made_of

    def made_of(features: list[int]) -> dict[str, Any]:
        return {**shared, "features": features, "factors": FACTORS, "tokens": tokens}

    def steer(features: list[int]) -> list[Rated]:
        return _steer(bench, asked, features, unsteered, tokens)

    together = [chosen[i : i + _TOGETHER] for i in range(0, len(chosen), _TOGETHER)]
    rated = parts_of_each(settings, "steering features", "rated", made_of, together, steer, Rated)
    return Filter(
        features=tuple(chosen),
        output=scores.output,
        input=scores.input,
        overall=torch.tensor([rating.overall for rating in rated], dtype=torch.float64),
        concept=torch.tensor([rating.concept for rating in rated], dtype=torch.float64),
        fluency=torch.tensor([rating.fluency for rating in rated], dtype=torch.float64),
        seed=settings.seed,
        description=(
            f"uniformly among those ever active, added at {', '.join(map(str, FACTORS))} × max, "
            f"{len(asked)} instructions, {tokens} tokens; concept: the feature's share of active "
            "tokens when the untouched model reads the answer"
        ),
    )


def _answers(
    bench: Bench,
    asked: Sequence[Question],
    edits: Sequence[tuple[Intervention, ...]],
    tokens: int,
) -> list[Answer]:
    return answers(
        bench.model,
        [question for _ in edits for question in asked],
        [edit for edit in edits for _ in asked],
        max_new_tokens=tokens,
        seed=bench.seeds[0],
        dictionaries=[bench.dictionary],
    )


def _steer(
    bench: Bench,
    asked: Sequence[Question],
    features: Sequence[int],
    unsteered: list[Answer],
    tokens: int,
) -> list[Rated]:
    edits = [add(bench.dictionary, feature)(factor) for feature in features for factor in FACTORS]
    results = _rate(bench, features, unsteered, _answers(bench, asked, edits, tokens))
    return [
        Rated(
            feature,
            result.score.mean,
            result.reported()["concept"].mean,
            result.reported()["fluency"].mean,
            result.factor,
        )
        for feature, result in zip(features, results, strict=True)
    ]


def _draw(dictionary: Dictionary, count: int, seed: int) -> list[int]:
    assert dictionary.statistics is not None
    alive = (dictionary.statistics.maximum > 0).nonzero().flatten()
    order = torch.randperm(len(alive), generator=torch.Generator().manual_seed(seed))
    return sorted(alive[order[:count]].tolist())


def _rate(
    bench: Bench, chosen: Sequence[int], unsteered: list[Answer], steered: list[Answer]
) -> list[SteeringScore]:
    n, f = len(unsteered), len(FACTORS)
    shown = [unsteered[place] for place in halves(n)[0]]
    everything = [*unsteered, *steered]
    common = torch.stack([j(shown)(everything) for j in (bench.relevance, bench.fluency)], dim=-1)
    results = []
    for number, feature in enumerate(chosen):
        part = slice(number * f * n, (number + 1) * f * n)
        own = steered[part]
        concept = Fires(bench.model, bench.dictionary, feature)(shown)([*unsteered, *own])
        rated = torch.cat([common[:n], common[n:][part]])
        ratings = torch.cat([concept.unsqueeze(-1), rated], dim=-1).view(1 + f, n, 1, 3)
        grouped = tuple(
            tuple((answer,) for answer in own[i : i + n]) for i in range(0, len(own), n)
        )
        asked = tuple(answer.instruction for answer in unsteered)
        results.append(SteeringScore(FACTORS, asked, ratings[1:], ratings[0], grouped))
    return results

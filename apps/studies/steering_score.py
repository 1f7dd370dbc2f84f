"""What the options of `steer score` ask for: judges, and a way of steering."""

from __future__ import annotations

from typing import Any

from apps.labels.endpoint import EndpointJudge
from dictionaries.dictionary import Dictionary
from steer.errors import SteerError
from steer.evals.steering import judges
from steer.evals.steering.judges import Fires, Fluency, Judge, Judges, Mentions
from steer.evals.steering.lm_judges import lm_judges
from steer.evals.steering.score import add, clamp
from steer.model import Model


def offline(
    model: Model, dictionary: Dictionary, feature: int, words: str | None, pattern: str | None
) -> Judges:
    if words is not None and pattern is not None:
        raise SteerError("give --words or --pattern, not both")
    concept: Judge = Fires(model, dictionary, feature)
    if pattern is not None:
        concept = Mentions(pattern)
    elif words is not None:
        concept = Mentions.of_words(words.split(","))
    return Judges(concept, judges.Relevance(), Fluency(model))


def asked(
    endpoint: str | None, judge: str | None, concept: str | None, offline: str | None
) -> Judges:
    if not (endpoint and judge and concept):
        raise SteerError("a judge needs all of --endpoint, --judge and --concept")
    if offline:
        raise SteerError("give --words or --pattern, or a judge to ask, not both")
    return lm_judges(EndpointJudge(endpoint, judge), concept)


def steering_of(edit: str, dictionary: Dictionary, feature: int) -> Any:
    kinds = {"add": add, "clamp": clamp}
    if edit not in kinds:
        raise SteerError(f"--edit {edit} is unknown; allowed: {', '.join(kinds)}")
    return kinds[edit](dictionary, feature)

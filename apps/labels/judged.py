"""Labels from a judge: explained from strong fragments, scored on others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from apps.labels.detected import read_recipe, token_texts
from apps.training.recipe import Recipe
from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from steer.errors import SteerError
from steer.interpretation.activity import find_activity
from steer.interpretation.judged import (
    Fragment,
    Judge,
    detect_with,
    explain,
    fragments,
    simulate,
)
from steer.progress import Progress

SCORES = ("detect", "simulate")
_EXPLAINED, _SIMULATED = 10, 3
"""Fragments to explain from; active and silent ones to simulate, each."""


def judged_labels(
    dictionary: Dictionary,
    recipe: Recipe,
    features: Sequence[int],
    judge: Judge,
    *,
    source: str,
    score: str = "detect",
    seed: int = 0,
    work: Path | None = None,
    fit: int = 400,
    heldout: int = 200,
    progress: Progress | None = None,
) -> Labels:
    """A label of each feature; `score` is detection's F1 or simulation's correlation.

    Raises `SteerError` for another score, `DictionaryError` for a feature out of range.
    """
    if score not in SCORES:
        raise SteerError(f"score {score!r} is unknown; allowed: {', '.join(SCORES)}")
    dictionary.check_features(features)
    report = progress or (lambda what, done, total: None)
    reading, tokenizer = read_recipe(
        dictionary, recipe, work=work, fit=fit, heldout=heldout, progress=report
    )
    activity = find_activity(dictionary, reading.activations, reading.keep, reading.heldout)
    texts = token_texts(tokenizer, len(tokenizer))
    labels = []
    for number, feature in enumerate(features):
        report("asking the judge", number, len(features))
        shown = fragments(activity, reading.tokens, texts, feature, count=_EXPLAINED, seed=seed)
        labels.append(_judged(judge, feature, *shown, source=source, score=score, seed=seed))
    return Labels(labels)


def _judged(
    judge: Judge,
    feature: int,
    strongest: Sequence[Fragment],
    active: Sequence[Fragment],
    silent: Sequence[Fragment],
    *,
    source: str,
    score: str,
    seed: int,
) -> Label:
    text = explain(judge, strongest)
    example = strongest[0].marked()
    if score == "simulate":
        mixed = [*active[:_SIMULATED], *silent[:_SIMULATED]]
        found = simulate(judge, text, mixed)
        value = None if math.isnan(found) else round(found, 3)
        return Label(feature, text, source, "explain, simulate", score=value, example=example)
    detection = detect_with(judge, text, active, silent, seed=seed)
    return Label(
        feature=feature,
        text=text,
        source=source,
        method="explain, detect",
        score=round(detection.f1, 3),
        precision=round(detection.precision, 3),
        recall=round(detection.recall, 3),
        example=example,
    )

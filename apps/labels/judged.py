"""Labels from a judge: explained from strong fragments, scored on others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from apps.labels.reading import read_recipe, token_texts
from apps.training.recipe import Recipe
from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from steer.disk.content import dictionary_content
from steer.disk.ledger import Row
from steer.errors import SteerError
from steer.interpretation.activity import find_activity
from steer.interpretation.detectors import Activity
from steer.interpretation.judged import (
    Fragment,
    Judge,
    detect_with,
    explain,
    fragments,
    simulate,
)
from steer.jobs.job import Each
from steer.jobs.run import Spread, run
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
    file: Path | None = None,
    shard: str | None = None,
    progress: Progress | None = None,
) -> Labels:
    """A label of each feature; `score` is detection's F1 or simulation's correlation.

    file: where labels are written as they come; a run that stopped asks for no label twice.
    shard: such as `2/3`, to ask for a third of them, into its file.
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
    asked = Judged(tuple(features), judge, activity, reading.tokens, texts, source, score, seed)
    job = Each("labels", "asking the judge", "feature", len(features), asked.rows)
    header = {
        "labels": 1,
        "dictionary": dictionary_content(dictionary),
        "recipe": recipe.name,
        "contexts": [fit, heldout],
        "features": list(features),
        "judge": source,
        "score": score,
        "seed": seed,
    }
    rows = run(job, None, Spread.of(file, shard), header, progress)
    return Labels(Label.from_dict(row) for row in rows)


@dataclass(frozen=True, eq=False)
class Judged:
    """A label a feature: each is asked for apart from all others."""

    features: tuple[int, ...]
    judge: Judge
    activity: Activity
    tokens: Tensor
    texts: list[str]
    source: str
    score: str
    seed: int

    def rows(self, model: None, number: int) -> list[Row]:
        return [self._label(self.features[number]).to_dict()]

    def _label(self, feature: int) -> Label:
        shown = fragments(
            self.activity, self.tokens, self.texts, feature, count=_EXPLAINED, seed=self.seed
        )
        return _judged(
            self.judge, feature, *shown, source=self.source, score=self.score, seed=self.seed
        )


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
        correlation = simulate(judge, text, mixed)
        value = None if math.isnan(correlation) else round(correlation, 3)
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

"""E2's judge: a language model explains features, and finds them again by its explanations.

The paper's own measure (section 3), with detection (Paulo et al. 2024) beside it. A feature that
the judge can't explain, or whose reply can't be read, counts as 0: left out, it would flatter. So
does one that is never silent, since naming every fragment would find it. There are as many silent
fragments as active ones, so that naming them all gives an F1 of 2/3.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from apps.labels.endpoint import EndpointJudge, JudgeError, LocalJudge
from apps.reproduce.cells import Row, bounds, number
from apps.reproduce.kept.results import rows_of_each
from apps.reproduce.result import Claim
from apps.reproduce.settings import Settings
from steer.errors import SteerError
from steer.interpretation.detectors import Activity
from steer.interpretation.judged import (
    Fragment,
    Judge,
    detect_with,
    explain,
    fragments,
    simulate,
)
from steer.loading import load
from steer.maths.statistics import interval

REVISION = 1
"""Of what a row means: raise it, and interrupted runs start anew."""
COLUMNS = {
    "judged": "features that the judge was asked about, drawn at random",
    "detected": "mean F1 of telling active fragments from as many silent ones by the explanation; "
    "naming them all gives 0.67",
    "detected low": "lower end of its 95% interval over features",
    "detected high": "upper end",
    "simulated": "mean correlation of activations simulated from the explanation with true ones",
    "simulated low": "lower end of its 95% interval over features",
    "simulated high": "upper end",
}
_EXPLAINED, _SIMULATED = 10, 3
"""Fragments to explain from and to detect; active and silent ones to simulate, each."""


@dataclass(frozen=True)
class Judged:
    """A feature's explanation, detection's F1 and simulation's correlation."""

    feature: int
    explanation: str
    f1: float
    correlation: float


def figures(
    settings: Settings,
    made_of: Mapping[str, Any],
    activity: Activity,
    tokens: Tensor,
    texts: Sequence[str],
    features: Sequence[int],
) -> Row:
    """`COLUMNS` for a sample of `features`; replies are kept, so that a run can continue.

    made_of: what else decides the activity. Raises `JudgeError` if the judge can't be reached.
    """
    judge = _judge(settings.judge or "", settings.endpoint)
    count = min(settings.count(full=40, fast=4), len(features))
    sample = sorted(random.Random(settings.seed).sample(list(features), count))

    def find(feature: int) -> list[Judged]:
        shown = fragments(activity, tokens, texts, feature, count=_EXPLAINED, seed=settings.seed)
        return [_judged(judge, feature, *shown, seed=settings.seed)]

    header = {
        "revision": REVISION,
        "judge": settings.judge,
        "endpoint": settings.endpoint,
        "features": sample,
        **made_of,
    }
    asked = {str(feature): feature for feature in sample}
    judged = rows_of_each(settings, "asking the judge", header, asked, find, Judged)
    row: dict[str, Any] = {"judged": len(judged)}
    for name, values in (
        ("detected", [label.f1 for label in judged]),
        ("simulated", [label.correlation for label in judged]),
    ):
        mean = interval(torch.tensor(values or [0.0]), seed=settings.seed)
        row |= bounds(name, mean, f"{name} ")
    return row


def claim(rows: Sequence[Row], controls: Sequence[Row]) -> Claim:
    """That explanations of the first row's features predict better than those of the controls."""
    best, judge = rows[0], "detected"

    def shown(row: Row) -> str:
        low, high = row[f"{judge} low"], row[f"{judge} high"]
        return f"{row['directions']} {row[judge]:.2f} [{low:.2f}, {high:.2f}]"

    return Claim(
        "a language model's explanations of dictionary features predict them better than those of "
        "neurons, PCA, ICA and random directions",
        "Cunningham et al. 2023, figure 2",
        "detection F1 " + "; ".join(map(shown, (best, *controls))),
        all(number(best, f"{judge} low") > number(row, f"{judge} high") for row in controls),
    )


@lru_cache(maxsize=1)
def _judge(name: str, endpoint: str | None) -> Judge:
    return EndpointJudge(endpoint, name) if endpoint else LocalJudge(load(name, dtype="float32"))


def _judged(
    judge: Judge,
    feature: int,
    strongest: Sequence[Fragment],
    active: Sequence[Fragment],
    silent: Sequence[Fragment],
    *,
    seed: int,
) -> Judged:
    explanation, f1, correlation = "", 0.0, 0.0
    fair = min(len(active), len(silent))
    if not fair:
        return Judged(feature, explanation, f1, correlation)
    active, silent = active[:fair], silent[:fair]
    try:
        explanation = explain(judge, strongest)
        f1 = detect_with(judge, explanation, active, silent, seed=seed).f1
        correlation = simulate(judge, explanation, [*active[:_SIMULATED], *silent[:_SIMULATED]])
    except JudgeError:
        raise
    except SteerError:  # a reply without what was asked for
        pass
    return Judged(feature, explanation, f1, 0.0 if math.isnan(correlation) else correlation)

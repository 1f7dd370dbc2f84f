"""What Measure finds, as values, and the bootstrap that its intervals come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A mean over prompts and its 95% bootstrap interval; no interval from a single prompt."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Moved:
    """A token and the change of its logit."""

    token: str
    change: Interval


@dataclass(frozen=True)
class Curve:
    """KL(clean‖edited) at each share of the present dose."""

    name: str
    shares: tuple[float, ...]
    kl: tuple[Interval, ...]


@dataclass(frozen=True)
class Along:
    """KL(clean‖edited) at each token of a text, the unedited model's text read by both."""

    title: str
    tokens: tuple[str, ...]
    kl: tuple[float, ...]


@dataclass(frozen=True)
class Measured:
    """Everything that the Measure view shows.

    difference: of the tokens that the user named: clean, edited, and the change.
    wrong_way: the share of prompts that moved it against the mean; None if no tokens were named.
    coming: what is still being measured; empty once all is there.
    """

    prompts: int
    promoted: tuple[Moved, ...]
    suppressed: tuple[Moved, ...]
    kl: tuple[tuple[str, Interval], ...]
    difference: tuple[tuple[str, Interval], ...]
    curves: tuple[Curve, ...]
    along: tuple[Along, ...]
    dtype: str
    wrong_way: float | None = None
    coming: str = ""


def interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean and percentile bootstrap (Efron 1979), 1,000 resamples."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return Interval(float(array.mean()), None, None, len(array))
    draws = np.random.default_rng(seed).integers(0, len(array), (_RESAMPLES, len(array)))
    low, high = np.percentile(array[draws].mean(1), [2.5, 97.5])
    return Interval(float(array.mean()), float(low), float(high), len(array))

"""Faithfulness over all sizes of a set, as two numbers (Mueller et al. 2025, MIB, section 3.2).

With m the metric, ∅ nothing patched, N the whole target run and C_k the best k nodes,

    f(k) = (m(C_k) − m(∅)) / (m(N) − m(∅))        means over the pairs first
    CPR  = ∫ f(k) dk                              the more, the better: which nodes do the work
    CMD  = ∫ |1 − f(k)| dk                        the less, the better: which nodes do what N does

over sizes that are scaled to 0 … 1. Nodes that carry the effect further than the target run does
raise CPR, and CMD too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.errors import SteerError
from steer.maths.statistics import Interval

_LEAST = 1e-3
"""Of the metric's difference between target and base: a share of less says nothing."""


@dataclass(frozen=True)
class Integrated:
    """cpr, cmd: with intervals over the pairs."""

    cpr: Interval
    cmd: Interval


def integrated_faithfulness(
    places: Sequence[float],
    values: Tensor,
    ends: Tensor,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Integrated:
    """CPR and CMD by trapezoids, with percentile bootstrap intervals over the pairs.

    places: sizes of the sets, ascending from 0 to 1; values [points, n]: the metric with each
        patched on n pairs; ends [2, n]: that of the base run and of the target run.

    Raises `SteerError` for places that are not those, or ends that hardly differ.
    """
    where = torch.tensor(places, dtype=torch.float64)
    if where[0] != 0 or where[-1] != 1 or (where.diff() <= 0).any():
        raise SteerError(f"sizes must ascend from 0 to 1, not {[*places]}")
    base, target = ends.double()
    gained, span = values.double() - base, target - base
    if abs(span.mean().item()) < _LEAST:
        raise SteerError(
            f"base and target differ in the metric by {span.mean().item():.2g}: a share of that "
            "says nothing; choose pairs or a metric that differ"
        )
    n = len(span)
    drawn = torch.randint(n, (resamples, n), generator=torch.Generator().manual_seed(seed))
    whole = torch.arange(n).unsqueeze(0)
    means, bounds = _areas(where, gained, span, whole), _areas(where, gained, span, drawn)
    tail = (1 - level) / 2
    intervals = []
    for mean, area in zip(means, bounds, strict=True):
        low, high = (
            area.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
            if n > 1
            else (math.nan, math.nan)
        )
        intervals.append(Interval(mean.item(), low, high, n, level))
    return Integrated(*intervals)


def _areas(where: Tensor, gained: Tensor, span: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Both areas for each row of drawn [b, n], which says which pairs count: [b] each."""
    share = gained[:, drawn].mean(-1) / span[drawn].mean(-1)
    return (
        torch.trapezoid(share, where.unsqueeze(1), dim=0),
        torch.trapezoid((1 - share).abs(), where.unsqueeze(1), dim=0),
    )

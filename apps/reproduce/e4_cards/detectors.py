"""Features as detectors of a kind of token: the search for the best, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.maths.statistics import Interval, ratio_interval

LEAST_HITS = 3
THRESHOLDS = (0.0, 0.25, 0.5)
"""Of a feature's maximum on the texts that are searched."""


@dataclass(frozen=True)
class Detector:
    """Fires where a feature's activation is above a threshold; f1 where it was searched."""

    feature: int
    threshold: float
    f1: float


@dataclass(frozen=True)
class Score:
    """On texts that were not searched, with intervals over the texts."""

    precision: Interval
    recall: Interval
    f1: Interval


def best_detector(activations: Tensor, wanted: Tensor) -> Detector:
    """The feature and threshold with the highest F1, from activations [n, width] at n tokens, of
    which `wanted` [n] are to be found."""
    target, best = wanted.float(), Detector(0, 0.0, 0.0)
    maximum = activations.amax(0)
    for share in THRESHOLDS:
        fires = (activations > share * maximum).float()
        hits = target @ fires
        f1 = 2 * hits / (fires.sum(0) + target.sum()).clamp(min=1)
        f1[hits < LEAST_HITS] = 0
        place = int(f1.argmax())
        if f1[place] > best.f1:
            best = Detector(place, share * maximum[place].item(), f1[place].item())
    return best


def score(detector: Detector, activations: Sequence[Tensor], wanted: Sequence[Tensor]) -> Score:
    """Of texts with activations [s] of the detector's feature, and which tokens are wanted [s]."""
    fires = [values > detector.threshold for values in activations]
    hits, fired, there = (
        torch.tensor([float(mask.sum()) for mask in several])
        for several in ([f & w for f, w in zip(fires, wanted, strict=True)], fires, wanted)
    )
    nothing = Interval(0.0, 0.0, 0.0, len(hits))
    return Score(
        precision=ratio_interval(hits, fired) if fired.sum() else nothing,
        recall=ratio_interval(hits, there) if there.sum() else nothing,
        f1=ratio_interval(2 * hits, fired + there) if (fired + there).sum() else nothing,
    )


@dataclass(frozen=True)
class Bin:
    """A tenth of a feature's range: how many tokens fall into it, the share of them that are of the
    kind, and the commonest tokens with their numbers."""

    low: float
    high: float
    count: int
    share: float
    tokens: tuple[tuple[str, int], ...]


def histogram(
    activations: Tensor, names: Sequence[str], wanted: Tensor, bins: int = 10, top: int = 5
) -> list[Bin]:
    """Activations [n] above 0 by strength and token (Cunningham et al. 2023, section 5.1)."""
    maximum = activations.max().item()
    filled = []
    for number in range(bins):
        low, high = maximum * number / bins, maximum * (number + 1) / bins
        inside = (activations > low) & (activations <= high)
        where = inside.nonzero().flatten().tolist()
        counts: dict[str, int] = {}
        for place in where:
            counts[names[place]] = counts.get(names[place], 0) + 1
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        share = wanted[inside].float().mean().item() if where else 0.0
        filled.append(Bin(low, high, len(where), share, tuple(ranked[:top])))
    return filled

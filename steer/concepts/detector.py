"""The chosen features as a detector of the concept in texts that set neither weight nor threshold.

The held-out half had a say in which features count at all, and the other words' texts in both, so
figures on the user's own further texts may be lower.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from steer.concepts.candidates import Background, Candidate
from steer.concepts.reading import Reading


@dataclass(frozen=True)
class Detector:
    """A text is about the concept where the features' weighted mean activation exceeds `threshold`.

    precision, recall, f1: on `positives` held-out texts about it and `negatives` others. Precision
    is for that mixture. NaN precision if nothing is detected.
    """

    threshold: float
    precision: float
    recall: float
    f1: float
    positives: int
    negatives: int


def detector(
    candidate: Candidate, fit: Reading, held_out: Reading, background: Background
) -> Detector:
    """The threshold with the best F1 on the fitting half, and how it does on the other half."""
    away = torch.cat([_scores(candidate, r) for r in (background.neutral, *background.others)])
    inside, outside = _scores(candidate, fit), away[::2]
    threshold = max(_cuts(inside, outside), key=lambda cut: _f1(inside > cut, outside > cut)[2])
    held, rest = _scores(candidate, held_out), away[1::2]
    precision, recall, f1 = _f1(held > threshold, rest > threshold)
    return Detector(threshold, precision, recall, f1, len(held), len(rest))


def _scores(candidate: Candidate, reading: Reading) -> Tensor:
    return reading.mean[:, list(candidate.features)] @ torch.tensor(candidate.weights)


def _cuts(inside: Tensor, outside: Tensor) -> list[float]:
    """Halfway between neighbouring scores, and 0."""
    ordered = torch.cat([inside, outside]).unique()
    return [0.0, *((ordered[1:] + ordered[:-1]) / 2).tolist()]


def _f1(right: Tensor, wrong: Tensor) -> tuple[float, float, float]:
    """Precision, recall and F1 of what was detected among the concept's texts and the others."""
    hits, false = right.sum().item(), wrong.sum().item()
    precision = hits / (hits + false) if hits + false else float("nan")
    recall = hits / len(right)
    return precision, recall, 2 * hits / (hits + false + len(right))

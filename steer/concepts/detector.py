"""The chosen features as a detector of the concept in texts that set neither weight nor threshold.

The held-out half had a say in which features count at all, and the other words' texts in both, so
figures on the user's own further texts may be lower. Contexts of the dictionary's own statistics
are texts that neither the model nor the user wrote.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.concepts.candidates import Background, Candidate
from steer.concepts.reading import Reading

if TYPE_CHECKING:
    from steer.model import Model

MOST = 64
"""Contexts that hold the word; more say little more."""
OTHERS = 4
"""Contexts that don't hold it, for each that does."""


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
    return _detector(threshold, held, rest)


def elsewhere(made: Detector, candidate: Candidate, about: Reading, others: Reading) -> Detector:
    """The same threshold on texts of another origin, such as `contexts`."""
    return _detector(made.threshold, _scores(candidate, about), _scores(candidate, others))


@dataclass(frozen=True)
class Contexts:
    """about: those that hold the word; others: of those that don't."""

    about: tuple[str, ...]
    others: tuple[str, ...]


def contexts(model: Model, dictionary: Dictionary, word: str, seed: int) -> Contexts:
    """Drawn by the seed from the features' top contexts; none without statistics."""
    known = dictionary.statistics
    if known is None:
        return Contexts((), ())
    rows = known.contexts.flatten(0, 1)
    ids = [[token for token in row if token >= 0] for row in rows.unique(dim=0).tolist()]
    texts = [text for text in model.tokenizer.batch_decode(ids) if text.strip()]
    whole = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    about = [text for text in texts if whole.search(text)]
    rest = [text for text in texts if not whole.search(text)]
    draw = random.Random(seed)
    about = draw.sample(about, min(MOST, len(about)))
    return Contexts(tuple(about), tuple(draw.sample(rest, min(OTHERS * len(about), len(rest)))))


def _detector(threshold: float, right: Tensor, wrong: Tensor) -> Detector:
    precision, recall, f1 = _f1(right > threshold, wrong > threshold)
    return Detector(threshold, precision, recall, f1, len(right), len(wrong))


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

"""Which features differ between two texts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from apps.playground.studio.index import Index
from steer.features.activations import FeatureActivations


@dataclass(frozen=True)
class Difference:
    """A feature that two texts activate differently: its largest activation in each."""

    feature: int
    label: str
    one: float
    other: float


def contrast(
    one: FeatureActivations, other: FeatureActivations, index: Index, limit: int = 8
) -> tuple[list[Difference], list[Difference]]:
    """The features that are stronger in one text, and those stronger in the other.

    The first token of each is left out: its activation is massive whatever the text.
    """
    a, b = _strongest(one), _strongest(other)
    difference = a - b

    def best(sign: int) -> list[Difference]:
        order = (sign * difference).topk(limit).indices.tolist()
        return [
            Difference(i, index.label(i), a[i].item(), b[i].item())
            for i in order
            if sign * difference[i] > 0
        ]

    return best(1), best(-1)


def _strongest(read: FeatureActivations) -> Tensor:
    words = read.activations[1:] if len(read.tokens) > 1 else read.activations
    return words.amax(0)

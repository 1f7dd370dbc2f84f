"""Everything known about one feature, in text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from dictionaries.beside.labels import Label
from dictionaries.beside.stability import Returning
from dictionaries.beside.statistics import QUANTILES
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError
from steer.interpretation.sides import Sides, sides


@dataclass(frozen=True)
class Context:
    """A stretch of text, and the feature's activation at each of its tokens."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]


@dataclass(frozen=True)
class FeatureCard:
    """A feature's figures and examples; see `dictionaries.beside.statistics.FeatureStatistics`.

    labels: what it is said to mean, best first. sides: what it reads and writes, and how much
    likelier its promoted tokens become when it is pushed.
    stability: whether it comes back with another seed; None if nobody trained others.
    """

    dictionary: str
    feature: int
    tokens: int
    density: float
    maximum: float
    mean: float
    quantiles: dict[str, float]
    promoted: tuple[tuple[str, float], ...]
    suppressed: tuple[tuple[str, float], ...]
    contexts: tuple[Context, ...]
    labels: tuple[Label, ...]
    sides: Sides
    stability: Returning | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; both sides beside the rest."""
        data = asdict(self) | {"labels": [label.to_dict() for label in self.labels]}
        data |= data.pop("sides") | self.sides.to_dict()
        for side in ("promoted", "suppressed"):
            data[side] = [{"token": token, "logit": logit} for token, logit in data[side]]
        return data


def feature_card(token: Callable[[int], str], dictionary: Dictionary, feature: int) -> FeatureCard:
    """The card of a feature of a dictionary that has statistics. token: the text of an id.

    Raises `DictionaryError` for a feature out of range or a dictionary without statistics.
    """
    dictionary.check_features([feature])
    statistics = dictionary.statistics
    if statistics is None:
        raise DictionaryError(f"{dictionary.name} has no statistics, so there is no card to show")

    def tokens(ids: Any) -> tuple[str, ...]:
        return tuple(token(i) for i in ids.tolist() if i >= 0)

    contexts = []
    for ids, activations in zip(
        statistics.contexts[feature], statistics.context_activations[feature], strict=True
    ):
        if (ids >= 0).any():
            contexts.append(Context(tokens(ids), tuple(activations[ids >= 0].tolist())))

    def pairs(ids: Any, logits: Any) -> tuple[tuple[str, float], ...]:
        return tuple(zip(tokens(ids), logits.tolist(), strict=True))

    return FeatureCard(
        dictionary=dictionary.name,
        feature=feature,
        tokens=statistics.tokens,
        density=statistics.density[feature].item(),
        maximum=statistics.maximum[feature].item(),
        mean=statistics.mean[feature].item(),
        quantiles={
            f"q{percent}": value
            for percent, value in zip(
                QUANTILES, statistics.quantiles[feature].tolist(), strict=True
            )
        },
        promoted=pairs(statistics.promoted[feature], statistics.promoted_logits[feature]),
        suppressed=pairs(statistics.suppressed[feature], statistics.suppressed_logits[feature]),
        contexts=tuple(contexts),
        labels=dictionary.labels.by_feature.get(feature, ()),
        sides=sides(dictionary, token, feature),
        stability=None if (known := dictionary.stability) is None else known.of(feature),
    )

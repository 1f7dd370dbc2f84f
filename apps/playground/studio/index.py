"""What the page knows of a dictionary's features: how they are found, named, and their cards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from apps.labels.feature_card import FeatureCard, feature_card
from dictionaries.beside.statistics import FeatureStatistics
from dictionaries.dictionary import Dictionary
from dictionaries.measures.neighbours import nearest
from steer.interpretation.find import Finder, Found
from steer.interpretation.sides import Sides
from steer.lm.language_model import LanguageModel

NEIGHBOURS = 8


@dataclass(frozen=True)
class Near:
    """A neighbour, and the cosine of its decoder row with the feature's."""

    feature: int
    label: str
    cosine: float


@dataclass(frozen=True)
class Card:
    """Everything known about one feature.

    facts: as `steer feature` says them; None without statistics.
    sides: what it reads and what it writes.
    neighbours: features whose decoder rows point most nearly the same way, nearest first.
    """

    dictionary: str
    hookpoint: str
    feature: int
    label: str
    facts: FeatureCard | None
    sides: Sides
    neighbours: tuple[Near, ...]

    def to_dict(self) -> dict[str, Any]:
        known = self.facts.to_dict() if self.facts else {}
        return {
            "dictionary": self.dictionary,
            "feature": self.feature,
            "hookpoint": self.hookpoint,
            "label": self.label,
            **known,
            **self.sides.to_dict(),
            "neighbours": [asdict(neighbour) for neighbour in self.neighbours],
        }


class Index:
    """What is known of a dictionary's features, ready to be searched.

    token: the text of a token id. model: reads what is searched for; nothing does if None.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        token: Callable[[int], str],
        model: LanguageModel | None = None,
    ) -> None:
        self.dictionary = dictionary
        self.finder = Finder(dictionary, token, model)
        self.token = self.finder.token

    @property
    def statistics(self) -> FeatureStatistics | None:
        return self.dictionary.statistics

    def warm(self) -> None:
        """Build everything now, so that the first search does not wait."""
        self.finder.warm()

    def label(self, feature: int) -> str:
        """Its label, or else what it reads and what it writes, in a few tokens."""
        if said := self.dictionary.labels.of(feature):
            return said.said
        both = self.finder.sides(feature)
        towards = f"→ {both.writes}" if both.writes else ""
        return f"{both.reads} {towards}".strip() or "no statistics"

    def facts(self, feature: int) -> dict[str, Any]:
        """Its label, density and maximum, the last two None without statistics."""
        known = self.statistics
        return {
            "feature": feature,
            "label": self.label(feature),
            "density": known and known.density[feature].item(),
            "maximum": known and known.maximum[feature].item(),
        }

    def search(self, query: str, limit: int = 12, *, measure: bool = True) -> Found:
        """See `steer.interpretation.find.Finder.find`."""
        return self.finder.find(query, limit, measure=measure)

    def measure_if_free(self, query: str, limit: int = 12) -> Found | None:
        """The search with the model's reading; None, at once, while the model is at work."""
        model = self.finder.model
        if model is None or not model.lock.acquire(blocking=False):
            return None
        try:
            return self.search(query, limit)
        finally:
            model.lock.release()

    def neighbours(self, feature: int) -> tuple[Near, ...]:
        neighbours = nearest(self.dictionary, feature, NEIGHBOURS)
        return tuple(
            Near(neighbour.feature, self.label(neighbour.feature), neighbour.cosine)
            for neighbour in neighbours
        )

    def card(self, feature: int) -> Card:
        """Raises `DictionaryError` for a feature out of range."""
        self.dictionary.check_features([feature])
        facts = feature_card(self.token, self.dictionary, feature) if self.statistics else None
        return Card(
            dictionary=self.dictionary.name,
            hookpoint=str(self.dictionary.config.hookpoint),
            feature=feature,
            label=self.label(feature),
            facts=facts,
            sides=self.finder.sides(feature),
            neighbours=self.neighbours(feature),
        )

"""Finding features by id, label, the tokens they fire on or promote, or examples; their cards."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

from apps.labels.feature_card import FeatureCard, feature_card
from dictionaries.beside.statistics import FeatureStatistics
from dictionaries.dictionary import Dictionary
from dictionaries.measures.neighbours import nearest

NEIGHBOURS = 8
_WORDS = re.compile(r"\w[\w ’'.,-]*")
"""What is looked for inside examples and labels: words, beginning with a letter or a digit."""


@dataclass(frozen=True)
class Hit:
    """A feature that a search found, and what of it matched."""

    feature: int
    label: str
    why: str
    score: float


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
    neighbours: features whose decoder rows point most nearly the same way, nearest first.
    """

    dictionary: str
    hookpoint: str
    feature: int
    label: str
    facts: FeatureCard | None
    neighbours: tuple[Near, ...]

    def to_dict(self) -> dict[str, Any]:
        known = self.facts.to_dict() if self.facts else {}
        return {
            "dictionary": self.dictionary,
            "feature": self.feature,
            "hookpoint": self.hookpoint,
            "label": self.label,
            **known,
            "neighbours": [asdict(each) for each in self.neighbours],
        }


class Index:
    """What a dictionary's statistics say about its features, ready to be searched."""

    def __init__(self, dictionary: Dictionary, token: Callable[[int], str]) -> None:
        self.dictionary = dictionary
        self.token = lru_cache(maxsize=None)(token)

    @property
    def statistics(self) -> FeatureStatistics | None:
        return self.dictionary.statistics

    @cached_property
    def peaks(self) -> list[Counter[str]]:
        """Per feature, the tokens at which its examples peak, without their spaces."""
        if self.statistics is None:
            return [Counter() for _ in range(self.dictionary.width)]
        at = self.statistics.context_activations.argmax(-1, keepdim=True)
        ids = self.statistics.contexts.gather(-1, at).squeeze(-1).tolist()
        return [Counter(self.token(i).strip() for i in row if i >= 0) for row in ids]

    @cached_property
    def texts(self) -> list[str]:
        """Per feature, its examples in lower case, to be searched."""
        if self.statistics is None:
            return []
        rows = self.statistics.contexts.flatten(1).tolist()
        return ["".join(self.token(i) for i in row if i >= 0).lower() for row in rows]

    @cached_property
    def promoters(self) -> dict[str, list[tuple[int, int]]]:
        """Promoted token in lower case without spaces -> (feature, rank)."""
        found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        if self.statistics is not None:
            for feature, row in enumerate(self.statistics.promoted.tolist()):
                for rank, token in enumerate(row):
                    found[self.token(token).strip().lower()].append((feature, rank))
        return found

    def warm(self) -> None:
        """Build everything now, so that the first search does not wait."""
        for _ in (self.peaks, self.texts, self.promoters):
            pass

    def label(self, feature: int) -> str:
        """Its label, or else what it fires on and what it promotes, in a few tokens."""
        if said := self.dictionary.labels.of(feature):
            return said.text
        peaks = [token for token, _ in self.peaks[feature].most_common(2) if token]
        fires = " / ".join(f"“{token}”" for token in peaks)
        towards = f"→ “{promoted}”" if (promoted := self._promoted(feature)) else ""
        return f"{fires} {towards}".strip() or "no statistics"

    def facts(self, feature: int) -> dict[str, Any]:
        """Its label, density and maximum, the last two None without statistics."""
        known = self.statistics
        return {
            "feature": feature,
            "label": self.label(feature),
            "density": known and known.density[feature].item(),
            "maximum": known and known.maximum[feature].item(),
        }

    def _promoted(self, feature: int) -> str:
        """The token it promotes most, without its space."""
        if self.statistics is None or not self.statistics.promoted.numel():
            return ""
        return self.token(int(self.statistics.promoted[feature, 0])).strip()

    def search(self, query: str, limit: int = 12) -> list[Hit]:
        """Features whose id, label, promoted tokens or examples match, best first.

        What holds something else than words is a token as a whole, or nothing.
        Raises `DictionaryError` for a number that is no feature's.
        """
        plain = query.strip().lower()
        if not plain:
            return []
        scores: dict[int, tuple[float, str]] = {}
        number = int(plain.lstrip("#")) if plain.lstrip("#").isdecimal() else None
        if number is not None:
            self.dictionary.check_features([number])
            scores[number] = (100.0, "its id")
        words = _WORDS.fullmatch(plain) is not None
        for rank, label in enumerate(self.dictionary.labels.search(plain, limit) if words else ()):
            if label.clear:
                _raise(scores, label.feature, 5 - rank / 100, "its label")
        for feature, counts in enumerate(self.peaks):
            matching = sum(n for token, n in counts.items() if token.lower() == plain)
            _raise(scores, feature, 3 * matching / (counts.total() or 1), f"fires on “{plain}”")
        for feature, rank in self.promoters.get(plain, ()):
            _raise(scores, feature, 2 - rank / 10, f"promotes “{plain}”")
        whole = re.compile(rf"(?<!\w){re.escape(plain)}(?!\w)")
        for feature, text in enumerate(self.texts if words else ()):
            count = len(whole.findall(text)) if plain in text else 0
            _raise(scores, feature, min(count, 10) / 10, f"{count} times in its examples")
        ranked = sorted(scores.items(), key=lambda item: (-item[1][0], item[0]))[:limit]
        return [Hit(f, self.label(f), why, score) for f, (score, why) in ranked]

    def neighbours(self, feature: int) -> tuple[Near, ...]:
        found = nearest(self.dictionary, feature, NEIGHBOURS)
        return tuple(Near(each.feature, self.label(each.feature), each.cosine) for each in found)

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
            neighbours=self.neighbours(feature),
        )


def _raise(scores: dict[int, tuple[float, str]], feature: int, score: float, why: str) -> None:
    if score > scores.get(feature, (0.0, ""))[0]:
        scores[feature] = (score, why)

"""Finding features: by id, by the tokens they fire on or promote, by their examples; and their cards."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from dictionaries.base import Dictionary
from dictionaries.neighbours import nearest
from dictionaries.stats import QUANTILES, FeatureStatistics

NEIGHBOURS = 8


@dataclass(frozen=True)
class Hit:
    """A feature that a search found, and what of it matched."""

    feature: int
    label: str
    why: str
    score: float


@dataclass(frozen=True)
class Example:
    """A stretch of text, and the feature's activation at each of its tokens."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]


@dataclass(frozen=True)
class Card:
    """Everything known about one feature; figures are None without statistics.

    histogram: (from, to, share of its active tokens) between the quantiles that were kept.
    neighbours: (feature, label, cosine of the decoder rows).
    """

    dictionary: str
    hookpoint: str
    feature: int
    label: str
    tokens: int
    density: float | None
    maximum: float | None
    mean: float | None
    histogram: tuple[tuple[float, float, float], ...]
    promoted: tuple[tuple[str, float], ...]
    suppressed: tuple[tuple[str, float], ...]
    examples: tuple[Example, ...]
    neighbours: tuple[tuple[int, str, float], ...]


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
        promoted = self.promoted(feature)
        towards = f"→ “{promoted[0][0].strip()}”" if promoted else ""
        return f"{fires} {towards}".strip() or "no statistics"

    def promoted(self, feature: int) -> tuple[tuple[str, float], ...]:
        return self._pairs("promoted", feature)

    def _pairs(self, side: str, feature: int) -> tuple[tuple[str, float], ...]:
        if self.statistics is None:
            return ()
        ids = getattr(self.statistics, side)[feature].tolist()
        logits = getattr(self.statistics, f"{side}_logits")[feature].tolist()
        return tuple(zip(map(self.token, ids), logits, strict=True))

    def search(self, query: str, limit: int = 12) -> list[Hit]:
        """Features whose id, label, promoted tokens or examples match, best first."""
        plain = query.strip().lower()
        if not plain:
            return []
        scores: dict[int, tuple[float, str]] = {}
        if plain.lstrip("#").isdigit() and int(plain.lstrip("#")) < self.dictionary.width:
            scores[int(plain.lstrip("#"))] = (100.0, "its id")
        words = any(map(str.isalnum, plain))
        for rank, label in enumerate(self.dictionary.labels.search(plain, limit) if words else ()):
            if label.clear:
                _raise(scores, label.feature, 5 - rank / 100, "its label")
        for feature, counts in enumerate(self.peaks):
            matching = sum(n for token, n in counts.items() if token.lower() == plain)
            _raise(scores, feature, 3 * matching / (counts.total() or 1), f"fires on “{plain}”")
        for feature, rank in self.promoters.get(plain, ()):
            _raise(scores, feature, 2 - rank / 10, f"promotes “{plain}”")
        for feature, text in enumerate(self.texts):
            count = text.count(plain) if plain in text else 0
            _raise(scores, feature, min(count, 10) / 10, f"{count} times in its examples")
        ranked = sorted(scores.items(), key=lambda item: (-item[1][0], item[0]))[:limit]
        return [Hit(f, self.label(f), why, score) for f, (score, why) in ranked]

    def neighbours(self, feature: int) -> tuple[tuple[int, str, float], ...]:
        """Features whose decoder rows point most nearly the same way."""
        found = nearest(self.dictionary, feature, NEIGHBOURS)
        return tuple((each.feature, self.label(each.feature), each.cosine) for each in found)

    def card(self, feature: int) -> Card:
        """Raises `DictionaryError` for a feature out of range."""
        self.dictionary.check_features([feature])
        found = self.statistics
        return Card(
            dictionary=self.dictionary.name,
            hookpoint=str(self.dictionary.config.hookpoint),
            feature=feature,
            label=self.label(feature),
            tokens=found.tokens if found else 0,
            density=found.density[feature].item() if found else None,
            maximum=found.maximum[feature].item() if found else None,
            mean=found.mean[feature].item() if found else None,
            histogram=_histogram(found, feature) if found else (),
            promoted=self.promoted(feature),
            suppressed=self._pairs("suppressed", feature),
            examples=self._examples(feature),
            neighbours=self.neighbours(feature),
        )

    def _examples(self, feature: int) -> tuple[Example, ...]:
        if self.statistics is None:
            return ()
        contexts = self.statistics.contexts[feature].tolist()
        activations = self.statistics.context_activations[feature].tolist()
        return tuple(
            Example(
                tuple(self.token(i) for i in ids if i >= 0),
                tuple(a for i, a in zip(ids, values, strict=True) if i >= 0),
            )
            for ids, values in zip(contexts, activations, strict=True)
            if any(i >= 0 for i in ids)
        )


def _raise(scores: dict[int, tuple[float, str]], feature: int, score: float, why: str) -> None:
    if score > scores.get(feature, (0.0, ""))[0]:
        scores[feature] = (score, why)


def _histogram(found: FeatureStatistics, feature: int) -> tuple[tuple[float, float, float], ...]:
    edges = [0.0, *found.quantiles[feature].tolist(), found.maximum[feature].item()]
    shares = [percent / 100 for percent in (0, *QUANTILES, 100)]
    bars = zip(edges, edges[1:], shares, shares[1:], strict=False)
    return tuple((low, high, b - a) for low, high, a, b in bars if high > low)

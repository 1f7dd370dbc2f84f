"""Features by words: those that fire on them, that write them, and that are said to mean them.

One ranking for the command line and the page. A number finds the feature of that number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from dictionaries.beside.labels import Label
from dictionaries.dictionary import Dictionary
from steer.interpretation.fires import Fires, fires, others
from steer.interpretation.sides import Sides, peaks, sides
from steer.lm.language_model import LanguageModel

_WORDS = re.compile(r"\w[\w ’'.,-]*")
"""Begins with a letter or a digit."""
_MARKS = re.compile(r"[^\w\s]+")
"""Punctuation alone, which may be a token as a whole."""
_RAREST = 3e-4
"""Densities below this are not told apart."""
_BELOW = 0.9
"""A feature fires more on the words than on this share of other words."""
_SLIGHT = 0.1
"""Less than this share of its maximum is no firing."""
_CERTAIN = 100.0
_IN_EXAMPLES = 0.3
"""What ten mentions in its examples weigh, where firing most weighs 1."""


@dataclass(frozen=True)
class Hit:
    """A feature that a search found.

    fires: mean activation on the words, measured; share: of its maximum; None if not measured.
    why: what of it matched. score: what it is ranked by.
    """

    feature: int
    why: str
    score: float
    sides: Sides
    fires: float | None = None
    share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; both sides beside the rest."""
        own = ("feature", "why", "score", "fires", "share")
        return {**{name: getattr(self, name) for name in own}, **self.sides.to_dict()}


@dataclass(frozen=True)
class Found:
    """What a search found, best first. note: why there is nothing, or nothing measured; or empty.

    measured: whether the model read the words.
    """

    words: str
    hits: tuple[Hit, ...]
    measured: bool = False
    note: str = ""


class Finder:
    """A dictionary's features, ready to be searched.

    token: the text of a token id. model: reads the words; without it nothing is measured.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        token: Callable[[int], str],
        model: LanguageModel | None = None,
    ) -> None:
        self.dictionary = dictionary
        self.token = lru_cache(maxsize=None)(token)
        self.model = model

    @cached_property
    def _peaks(self) -> dict[str, list[tuple[int, float]]]:
        """Token in lower case, bare -> (feature, share of its examples that peak at it)."""
        by_token: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for feature in range(self.dictionary.width if self.dictionary.statistics else 0):
            counts = peaks(self.dictionary, feature)
            shares: dict[str, float] = defaultdict(float)
            for number, count in counts.items():
                shares[self.token(number).strip().lower()] += count / counts.total()
            for token, share in shares.items():
                by_token[token].append((feature, share))
        return by_token

    @cached_property
    def _texts(self) -> list[str]:
        """Per feature, its examples in lower case."""
        if self.dictionary.statistics is None:
            return []
        rows = self.dictionary.statistics.contexts.flatten(1).tolist()
        return ["".join(self.token(i) for i in row if i >= 0).lower() for row in rows]

    @cached_property
    def _promoters(self) -> dict[str, list[tuple[int, int]]]:
        """Promoted token in lower case, bare -> (feature, rank)."""
        promoters: dict[str, list[tuple[int, int]]] = defaultdict(list)
        if self.dictionary.statistics is not None:
            for feature, row in enumerate(self.dictionary.statistics.promoted.tolist()):
                for rank, token in enumerate(row):
                    promoters[self.token(token).strip().lower()].append((feature, rank))
        return promoters

    @cached_property
    def _level(self) -> Tensor:
        """What each feature does on other words [width]: the level that it is to exceed."""
        assert self.model is not None
        return others(self.model, self.dictionary).quantile(_BELOW, dim=0)

    def warm(self) -> None:
        """Build everything now, so that the first search does not wait."""
        for _ in (self._peaks, self._texts, self._promoters, self.model and self._level):
            pass

    def sides(self, feature: int) -> Sides:
        """Raises `DictionaryError` for a feature out of range."""
        return sides(self.dictionary, self.token, feature)

    def find(self, words: str, limit: int = 12, *, measure: bool = True) -> Found:
        """Features for the words, best first.

        measure: whether the model, if there is one, reads the words; a pass over four short texts.
        Raises `DictionaryError` for a number that is no feature's, `PromptError` for a phrase that
        is too long.
        """
        plain = " ".join(words.split()).lower()
        if not plain:
            return Found(words, (), note="Type a word, a phrase or a feature's number.")
        if plain.lstrip("#").isdecimal():
            return Found(words, (self._numbered(int(plain.lstrip("#"))),))
        matches: dict[int, _Match] = defaultdict(_Match)
        wordy = _WORDS.fullmatch(plain) is not None
        if not wordy and not _MARKS.fullmatch(plain):
            return Found(words, (), note=self._odd(plain))
        read = None
        if wordy:
            self._labelled(plain, matches)
            if self.model is not None and measure:
                read = fires(self.model, self.dictionary, " ".join(words.split()))
                self._fired(read, matches)
        self._exemplified(plain, wordy, matches)
        self._promoting(plain, matches)
        order = sorted(matches, key=lambda feature: (-matches[feature].score, feature))[:limit]
        hits = tuple(self._hit(feature, matches[feature], read) for feature in order)
        note = _in_parts(plain, read) if hits else f"Nothing matches “{plain}”. Try one word."
        return Found(words, hits, read is not None, note)

    def _numbered(self, number: int) -> Hit:
        return Hit(number, "its number", _CERTAIN, self.sides(number))

    def _odd(self, plain: str) -> str:
        return (
            f"Nothing matches “{plain}”: search for words, for a punctuation mark, or for a "
            f"feature's number, 0 to {self.dictionary.width - 1}."
        )

    def _hit(self, feature: int, match: _Match, read: Fires | None) -> Hit:
        at = None if read is None else read.activation[feature].item()
        why = "; ".join(match.why)
        return Hit(feature, why, match.score, self.sides(feature), at, self._share(feature, at))

    def _share(self, feature: int, at: float | None) -> float | None:
        known = self.dictionary.statistics
        if at is None or known is None or known.maximum[feature] <= 0:
            return None
        return at / known.maximum[feature].item()

    def _labelled(self, plain: str, matches: dict[int, _Match]) -> None:
        """By what they are said to mean."""
        if not any(character.isalnum() for character in plain):
            return
        for label in self.dictionary.labels.search(plain, None):
            if label.clear:
                matches[label.feature].once(
                    _worth(label, plain), "its name" if label.by_hand else "its label"
                )

    def _fired(self, read: Fires, matches: dict[int, _Match]) -> None:
        """By what the model does on the words: how much more than on others, times its rarity."""
        more = read.activation - self._level
        known = self.dictionary.statistics
        if known is not None:
            more = more * -known.density.clamp(min=_RAREST).log()
            more = torch.where(read.activation < _SLIGHT * known.maximum, 0, more)
        more = torch.where(read.share < 0.5, 0, more).clamp(min=0)
        if not more.max() > 0:
            return
        for feature in more.topk(min(50, len(more))).indices.tolist():
            if more[feature] > 0:
                said = f"fires at {read.activation[feature].item():.3g} on it"
                share = (more[feature] / more.max()).item()
                matches[feature].add(share * read.words / read.tokens, said)

    def _exemplified(self, plain: str, wordy: bool, matches: dict[int, _Match]) -> None:
        """By their examples: where these peak, and what they hold."""
        for feature, share in self._peaks.get(plain, ()):
            matches[feature].add(share, f"peaks at it in {share:.0%} of its examples")
        whole = re.compile(rf"(?<!\w){re.escape(plain)}(?!\w)")
        for feature, text in enumerate(self._texts if wordy else ()):
            if plain in text and (count := len(whole.findall(text))):
                said = f"{count} in its examples"
                matches[feature].add(_IN_EXAMPLES * min(count, 10) / 10, said)

    def _promoting(self, plain: str, matches: dict[int, _Match]) -> None:
        """By the tokens that they promote, more if these do come up when it is pushed."""
        best: dict[int, int] = {}
        for feature, rank in self._promoters.get(plain, ()):
            best.setdefault(feature, rank)
        for feature, rank in best.items():
            rise = self.sides(feature).written
            worth = 0.5 if rise is None else 0.5 + max(rise, 0)
            said = f"promotes it, {rank + 1} of its ten"
            matches[feature].add((1 - rank / 20) * worth, said)


class _Match:
    """What of a feature matched so far."""

    def __init__(self) -> None:
        self.score, self.why = 0.0, list[str]()

    def add(self, score: float, why: str) -> None:
        self.score += score
        self.why.append(why)

    def once(self, score: float, why: str) -> None:
        if why not in self.why:
            self.add(score, why)


def _in_parts(plain: str, read: Fires | None) -> str:
    """A caution for words that are no tokens of the model's."""
    if read is None or read.tokens <= read.words:
        return ""
    return (
        f"“{plain}” is {read.tokens} tokens to the model: a feature may fire on one of them, "
        "whatever it is part of."
    )


def _worth(label: Label, plain: str) -> float:
    """A name by hand most; half a rule's F1, which is of all its words; a beginning half."""
    had = re.findall(r"\w+", label.text.casefold())
    whole = all(word in had for word in re.findall(r"\w+", plain.casefold()))
    trust = 1.5 if label.by_hand else 1.0 if label.f1 is None else label.f1 / 2
    return trust if whole else trust / 2

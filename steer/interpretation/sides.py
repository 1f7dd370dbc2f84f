"""What a feature reads and what it writes, each in a few words with the figure behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from dictionaries.beside.labels import HAND, Label
from dictionaries.dictionary import Dictionary

CHANGES = 0.05
"""From how much likelier its tokens become a feature is said to change text."""
_PEAKS, _TOKENS = 3, 4
"""Tokens that are named of where it peaks, and of what it promotes."""


@dataclass(frozen=True)
class Sides:
    """Both sides of a feature.

    reads, writes: in words; empty where nothing is known.
    f1: held-out F1 of the best rule for where it is active, whether the rule is named or not.
    written: how much likelier its promoted tokens become when it is pushed to half the stream's
        norm, −1 to 1; None if nobody measured it.
    """

    reads: str
    writes: str
    f1: float | None
    written: float | None

    @property
    def changes(self) -> bool | None:
        """Whether it changes text, rather than only to detect; None where nobody measured it."""
        return None if self.written is None else self.written >= CHANGES

    @property
    def effect(self) -> str:
        """The same in words, with the figure."""
        if self.written is None:
            return "not measured whether it changes text"
        said = "changes text" if self.changes else "only detects"
        if not self.changes and self.writes.endswith(f"({HAND})"):
            said = "changes text as named, not by its own tokens"
        return f"{said} (the probability of its tokens {self.written:+.2f} when pushed)"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "changes_text": self.changes}


def sides(dictionary: Dictionary, token: Callable[[int], str], feature: int) -> Sides:
    """Of one feature. token: the text of a token id.

    A name by hand comes first; then a rule that its F1 does not refute; then the tokens at which
    its examples peak, with the F1 that the refuted rule has.
    Raises `DictionaryError` for a feature out of range.
    """
    dictionary.check_features([feature])
    known, labels = dictionary.statistics, dictionary.labels
    rules = [label.f1 for label in labels.by_feature.get(feature, ()) if label.f1 is not None]
    f1 = max(rules, default=None)
    written = None
    if known is not None and known.written is not None:
        written = known.written[feature].item()
    reads = _named(labels.of(feature, "reads")) or _peaks(dictionary, token, feature, f1)
    writes = _named(labels.of(feature, "writes")) or _promoted(dictionary, token, feature)
    return Sides(reads, writes, f1, written)


def quoted(token: str) -> str:
    """A token between quotation marks, without its spaces."""
    return f"“{token.strip() or token.encode('unicode_escape').decode()}”"


def peaks(dictionary: Dictionary, feature: int) -> Counter[int]:
    """The ids of the tokens at which a feature's examples peak; empty without statistics."""
    known = dictionary.statistics
    if known is None:
        return Counter()
    at = known.context_activations[feature].argmax(-1, keepdim=True)
    ids = known.contexts[feature].gather(-1, at).flatten().tolist()
    return Counter(token for token in ids if token >= 0)


def _named(label: Label | None) -> str:
    return "" if label is None else label.said.removeprefix("writes ")


def _peaks(
    dictionary: Dictionary, token: Callable[[int], str], feature: int, f1: float | None
) -> str:
    tokens = Counter[str]()
    for number, count in peaks(dictionary, feature).items():
        tokens[quoted(token(number))] += count
    if not tokens:
        return ""
    named = ", ".join(text for text, _ in tokens.most_common(_PEAKS))
    return named if f1 is None else f"{named} (its best rule has F1 {f1:.2f})"


def _promoted(dictionary: Dictionary, token: Callable[[int], str], feature: int) -> str:
    known = dictionary.statistics
    if known is None or not known.promoted.numel() or not known.promoted_logits[feature].any():
        return ""
    ids = known.promoted[feature].tolist()
    return ", ".join(list(dict.fromkeys(quoted(token(i)) for i in ids if i >= 0))[:_TOKENS])

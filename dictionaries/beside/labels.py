"""What people and programs have said that features mean, with where each label comes from.

A label is an opinion: it keeps its source, the method that made it and how well it was measured to
predict the feature. Labels lie beside the dictionary in `labels.jsonl`, one object a line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from dictionaries.errors import DictionaryError, FormatError
from dictionaries.files.keys import refuse_unknown
from dictionaries.files.place import beside
from dictionaries.files.whole import write_whole

FILE = "labels.jsonl"
CLEAR = 0.3
"""F1 from which a label that was measured is taken for what the feature means."""
HAND = "by hand"
"""The source of names that somebody gave who looked."""
SIDES = ("reads", "writes")
"""What a label is about: where the feature is active, or what it does to the text."""
_FIGURES = ("score", "precision", "recall", "f1")
_TEXTS = ("source", "method", "example")


@dataclass(frozen=True)
class Label:
    """One opinion about one feature.

    text: the label, on one line.
    source: where it is from, such as `neuronpedia gemma-2-2b/20-gemmascope-res-16k`.
    method: what made it, such as `oai_token-act-pair gpt-4o-mini`.
    score: as the source scores it; scores of different sources can't be compared.
    precision, recall, f1: of predicting, from the label alone, where the feature is active.
    example: a text that shows it.
    side: one of `SIDES`.
    Raises `DictionaryError` for an empty text, a negative feature or a figure that is no number.
    """

    feature: int
    text: str
    source: str
    method: str | None = None
    score: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    example: str | None = None
    side: str = "reads"

    def __post_init__(self) -> None:
        if isinstance(self.feature, bool) or not isinstance(self.feature, int) or self.feature < 0:
            raise DictionaryError(f"feature {self.feature!r} is no feature's index: 0, 1, 2, ...")
        if not isinstance(self.text, str) or not self.text.strip():
            raise DictionaryError(f"feature {self.feature} has an empty label; leave it out")
        object.__setattr__(self, "text", " ".join(self.text.split()))
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str) and not (value is None and name != "source"):
                raise DictionaryError(f"a label's {name} must be text, not {value!r}")
        if self.side not in SIDES:
            raise DictionaryError(f"a label's side is {' or '.join(SIDES)}, not {self.side!r}")
        for name in _FIGURES:
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and math.isfinite(value)):
                raise DictionaryError(f"a label's {name} must be a finite number, not {value!r}")

    @property
    def clear(self) -> bool:
        """False where it was measured and predicts too little to stand for the feature."""
        return self.f1 is None or self.f1 >= CLEAR

    @property
    def by_hand(self) -> bool:
        return self.source == HAND

    @property
    def said(self) -> str:
        """The text with what vouches for it; without a word where that is its source alone."""
        side = "writes " if self.side == "writes" else ""
        if self.by_hand:
            return f"{side}{self.text} (by hand)"
        return f"{side}{self.text}" + ("" if self.f1 is None else f" (F1 {self.f1:.2f})")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without what is unknown; the side only where it is not what it reads."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        if self.side == SIDES[0]:
            del known["side"]
        return known

    @classmethod
    def from_dict(cls, data: Any) -> Label:
        """Inverse of `to_dict`; unknown and missing keys are refused by name."""
        known = [field.name for field in fields(cls)]
        if not isinstance(data, dict) or not {"feature", "text", "source"} <= set(data):
            raise DictionaryError("a label is an object with feature, text and source")
        refuse_unknown(data, known, "a label", DictionaryError)
        return cls(**data)


@dataclass(frozen=True)
class Labels:
    """The labels of one dictionary, in the order of their features.

    Labels of one feature stay in the order given, but that those by hand come first, then measured
    ones, of higher F1 before lower.
    """

    labels: tuple[Label, ...] = ()

    def __init__(self, labels: Iterable[Label] = ()) -> None:
        in_order = sorted(
            dict.fromkeys(labels),
            key=lambda label: (label.feature, not label.by_hand, -(label.f1 or 0)),
        )
        object.__setattr__(self, "labels", tuple(in_order))

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def by_feature(self) -> dict[int, tuple[Label, ...]]:
        """All labels of each labelled feature, best first."""
        by_feature: dict[int, list[Label]] = {}
        for label in self.labels:
            by_feature.setdefault(label.feature, []).append(label)
        return {feature: tuple(labels) for feature, labels in by_feature.items()}

    def of(self, feature: int, side: str | None = None) -> Label | None:
        """The label to show for a feature, or None if none is clear; of one side, or of either."""
        known = self.by_feature.get(feature, ())
        return next((label for label in known if label.clear and side in (None, label.side)), None)

    def search(self, words: str, k: int | None = 20) -> list[Label]:
        """Labels that have every word, or one that begins so; capitals don't matter.

        First clear labels, then those with more of the words whole, shorter ones, higher F1, lower
        features.
        Raises `DictionaryError` if there is no word to look for.
        """
        wanted = _words(words)
        if not wanted:
            raise DictionaryError(f"{words!r} has no word to look for")
        ranked = []
        for label in self.labels:
            had = _words(label.text)
            if all(any(word.startswith(start) for word in had) for start in wanted):
                whole = sum(word in had for word in wanted)
                rank = (not label.clear, -whole, len(had), -(label.f1 or 0), label.feature)
                ranked.append((rank, label))
        ranked.sort(key=lambda pair: pair[0])
        return [label for _, label in ranked[:k]]

    def merged(self, other: Labels) -> Labels:
        """Both; a label that is in both is kept once, and other's come first."""
        return Labels([*other, *self])

    def without_source(self, source: str) -> Labels:
        """Those from elsewhere; to replace what a source said."""
        return Labels(label for label in self if label.source != source)

    def check(self, width: int) -> None:
        """Raise `DictionaryError` for a feature that a dictionary of this width does not have."""
        if self.labels and (last := self.labels[-1].feature) >= width:
            raise DictionaryError(
                f"there is a label for feature {last}, and the dictionary has features 0 to "
                f"{width - 1}: the labels are of another dictionary"
            )

    def save(self, place: str | Path) -> Path:
        """Write them beside the dictionary in this folder (or this file); returns the file."""
        path = beside(place, FILE)
        lines = (json.dumps(label.to_dict(), ensure_ascii=False) for label in self)
        write_whole(path, "".join(f"{line}\n" for line in lines))
        return path

    @classmethod
    def load(cls, place: str | Path) -> Labels:
        """What `save` wrote; empty if there are none. Raises `FormatError` for a damaged file."""
        return cls.at(beside(place, FILE))

    @classmethod
    def at(cls, path: Path) -> Labels:
        """Those of this file; raises as `load` does."""
        return _read(path, path.stat().st_mtime_ns) if path.is_file() else cls()


@lru_cache(maxsize=8)
def _read(path: Path, stamp: int) -> Labels:
    """Read once while the file stays as it is: an app asks at every click."""
    labels = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    labels.append(Label.from_dict(json.loads(line)))
                except (ValueError, RecursionError) as error:
                    raise FormatError(f"{path}, line {number}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} can't be read: {error}") from error
    return Labels(labels)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())

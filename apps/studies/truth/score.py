"""What a method named beside what is planted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields
from typing import Any

import torch

from apps.studies.truth.graph import EITHER, Link
from steer.maths.statistics import Interval, ratio_interval

SHARE = 0.05
"""A method names what has at least this share of its largest effect on any prompt; a tree, of the
activation that falls."""


@dataclass(frozen=True)
class Truth:
    """must: what a method is to name; may: what it is not wrong to name; backed: what it may name,
    and does not see if it changes one feature at a time."""

    must: frozenset[Any]
    may: frozenset[Any] = frozenset()
    backed: frozenset[Any] = frozenset()

    @classmethod
    def of(cls, links: Mapping[int, Link], *, only: int | None = None) -> Truth:
        """Of features that have links; only: the sign that the method looks for."""
        wanted = {f for f, link in links.items() if only in (None, link.sign)}
        either = {f for f, link in links.items() if only is not None and link.sign == EITHER}
        backed = frozenset(f for f, link in links.items() if link.backed)
        return cls(frozenset(wanted) - backed, frozenset(either | wanted) - backed, backed)

    def among(self, names: Set[Any]) -> Truth:
        return Truth(self.must & names, self.may & names, self.backed & names)


@dataclass(frozen=True)
class Count:
    """named: how many were named; right: which are planted; must, seen: how many had to be named,
    and were; backed, backed_seen: the same of those that have a stand-in."""

    named: int = 0
    right: int = 0
    must: int = 0
    seen: int = 0
    backed: int = 0
    backed_seen: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def count(named: frozenset[Any], truth: Truth) -> Count:
    right = named & (truth.must | truth.may | truth.backed)
    return Count(
        named=len(named),
        right=len(right),
        must=len(truth.must),
        seen=len(named & truth.must),
        backed=len(truth.backed),
        backed_seen=len(named & truth.backed),
    )


def named_by(effects: Mapping[Any, float], whole: float | None = None) -> frozenset[Any]:
    """The names of the effects that are at least `SHARE` of the whole, or of the largest."""
    size = max(map(abs, effects.values()), default=0.0) if whole is None else whole
    if size == 0:
        return frozenset()
    return frozenset(n for n, effect in effects.items() if abs(effect) >= SHARE * size)


@dataclass(frozen=True)
class Tally:
    """A method in one world. gap: Σ|estimate − exact| / Σ|exact|, of methods that estimate."""

    count: Count
    gap: float | None = None


def precision(rows: Sequence[Mapping[str, Any]]) -> Interval:
    """Right of named, over all worlds; its interval is over the worlds."""
    return _ratio(rows, "right", "named")


def recall(rows: Sequence[Mapping[str, Any]]) -> Interval:
    """Seen of what must be seen, over all worlds; its interval is over the worlds."""
    return _ratio(rows, "seen", "must")


def backed_recall(rows: Sequence[Mapping[str, Any]]) -> Interval:
    """Seen of what has a stand-in, over all worlds; its interval is over the worlds."""
    return _ratio(rows, "backed_seen", "backed")


def _ratio(rows: Sequence[Mapping[str, Any]], above: str, below: str) -> Interval:
    """NaN where there is nothing of it in any world."""
    some = [row for row in rows if row[below]]
    if not some:
        return Interval(math.nan, math.nan, math.nan, 0)

    def column(name: str) -> torch.Tensor:
        return torch.tensor([row[name] for row in some], dtype=torch.float64)

    return ratio_interval(column(above), column(below))

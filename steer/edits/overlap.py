"""Whether two edits' positions can mean one token, of any prompt.

A spec is one region or several: an arithmetic progression of positions from the text's start, cut
to an interval that counts from the prompt's end, and perhaps to some token ids. What can't be told
without the prompt counts as an overlap.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from steer.edits.positions import (
    NOWHERE,
    Canonical,
    Positions,
    RowPositions,
    Rows,
    Tokens,
    canonical,
    slice_parts,
)

_EVERYWHERE = range(sys.maxsize)


@dataclass(frozen=True)
class _Region:
    """at: positions in the text; low, high: position minus prompt length, high excluded.

    tokens: the only ids that it means; None is every one.
    """

    at: range = _EVERYWHERE
    low: float = -math.inf
    high: float = math.inf
    tokens: frozenset[str | int] | None = None


_NAMED = {
    "all": _Region(),
    "text": _Region(),
    "prompt": _Region(high=0),
    "generated": _Region(low=-1),
    "last": _Region(low=-1, high=0),
}


def may_overlap(one: Positions, other: Positions) -> bool:
    """False only where the two can be told apart without knowing the prompt, in every row.

    Tokens are told apart by id: texts have to be resolved before.
    """
    mine, theirs = canonical(one), canonical(other)
    if isinstance(mine, Rows) and isinstance(theirs, Rows):
        pairs = zip(mine.specs, theirs.specs, strict=False)
        return any(may_overlap(first, second) for first, second in pairs)
    if isinstance(mine, Rows):
        return any(may_overlap(spec, theirs) for spec in mine.specs)
    if isinstance(theirs, Rows):
        return may_overlap(theirs, mine)
    return any(_meet(first, second) for first in _regions(mine) for second in _regions(theirs))


def _regions(spec: Canonical) -> Iterator[_Region]:
    assert not isinstance(spec, Rows)
    match spec:
        case Tokens(tokens=tokens):
            yield _Region(tokens=frozenset(tokens))
        case int():
            yield _place(spec)
        case tuple():
            yield from map(_place, spec)
        case _ if spec in _NAMED:
            yield _NAMED[spec]
        case _ if spec != NOWHERE:
            yield _sliced(spec)


def _place(position: int) -> _Region:
    if position < 0:
        return _Region(low=position, high=position + 1)
    return _Region(at=range(position, position + 1))


def _sliced(spec: RowPositions) -> _Region:
    """A step that counts from the prompt's end is left out: its phase depends on the prompt."""
    start, stop, step = slice_parts(str(spec))
    start, end = start or 0, math.inf if stop is None else stop
    return _Region(
        at=range(
            max(start, 0),
            sys.maxsize if end < 0 or stop is None else stop,
            step or 1 if start >= 0 else 1,
        ),
        low=start if start < 0 else -math.inf,
        high=end if end < 0 else math.inf,
    )


def _meet(one: _Region, other: _Region) -> bool:
    if _told_apart(one.tokens, other.tokens):
        return False
    low, high = max(one.low, other.low), min(one.high, other.high)
    # A prompt has a token at least, so a position is one above the lowest that counts from its end.
    least = 0 if math.isinf(low) else int(low) + 1
    return low < high and _meet_at(one.at, other.at, least)


def _told_apart(mine: frozenset[str | int] | None, theirs: frozenset[str | int] | None) -> bool:
    if mine is None or theirs is None or not mine.isdisjoint(theirs):
        return False
    return all(isinstance(token, int) for token in mine | theirs)


def _meet_at(one: range, other: range, least: int) -> bool:
    """Whether two progressions share a number that is `least` or more."""
    start = max(one.start, other.start, least)
    first = start + (one.start - start) % one.step
    tries = other.step // math.gcd(one.step, other.step)
    candidates = range(first, first + tries * one.step, one.step)
    return any(at in other and at < one.stop for at in candidates)

"""Edits that want different things of one place: refused, unless an order is given.

All edits of a run read the same clean activation and what they write adds up, so two clamps of one
feature would give neither value.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from steer.edits.base import Edit, FeatureEdit
from steer.edits.positions import NOWHERE, Positions, Rows, canonical
from steer.errors import InterventionError


def conflicts(edits: Sequence[Edit]) -> list[tuple[Edit, Edit]]:
    """Pairs of edits of one target that can touch the same token."""
    return [
        (one, other)
        for one, other in combinations(edits, 2)
        if one.target == other.target and may_overlap(one.positions, other.positions)
    ]


def refuse_conflicts(edits: Sequence[Edit]) -> None:
    for one, other in conflicts(edits):
        raise InterventionError(
            f"{named(one)} has two edits that can touch the same token ({one.kind} at "
            f"{one.positions!r}, {other.kind} at {other.positions!r}); all edits read the same "
            "clean activation, so one of them would be lost: give them separate positions, "
            "keep one, or say conflicts='in_order'"
        )


def named(edit: Edit) -> str:
    """What the edit is of, for a sentence."""
    return f"feature {edit.target}" if isinstance(edit, FeatureEdit) else f"{edit.target}"


def may_overlap(one: Positions, other: Positions) -> bool:
    """False only where the two can be told apart without knowing the prompt, in every row."""
    mine, theirs = canonical(one), canonical(other)
    if isinstance(mine, Rows) and isinstance(theirs, Rows):
        pairs = zip(mine.specs, theirs.specs, strict=False)
        return any(may_overlap(first, second) for first, second in pairs)
    if isinstance(mine, Rows):
        return any(may_overlap(spec, theirs) for spec in mine.specs)
    if isinstance(theirs, Rows):
        return may_overlap(theirs, mine)
    first, second = _exact(mine), _exact(theirs)
    if () in (first, second):
        return False
    return first is None or second is None or not set(first).isdisjoint(second)


def _exact(positions: object) -> tuple[int, ...] | None:
    if positions == NOWHERE:
        return ()
    places = (positions,) if isinstance(positions, int) else positions
    if isinstance(places, tuple) and all(place >= 0 for place in places):
        return places
    return None

"""Edits that want different things of one place: refused, unless an order is given.

All edits of a site read it before any of them writes there, and what they write adds up, so two
clamps of one feature would give neither value.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Protocol

from steer.edits.base import Edit, FeatureEdit
from steer.edits.overlap import may_overlap
from steer.edits.positions import Canonical
from steer.errors import InterventionError


class Placed(Protocol):
    """An edit that knows its place: what it changes by number, and positions with token ids."""

    @property
    def edit(self) -> Edit: ...

    @property
    def target(self) -> int: ...

    @property
    def positions(self) -> Canonical: ...


def conflicts(edits: Sequence[Placed]) -> list[tuple[Edit, Edit]]:
    """Pairs of edits of one target that can touch the same token."""
    return [
        (one.edit, other.edit)
        for one, other in combinations(edits, 2)
        if one.target == other.target and may_overlap(one.positions, other.positions)
    ]


def refuse_conflicts(edits: Sequence[Placed]) -> None:
    for one, other in conflicts(edits):
        raise InterventionError(
            f"{named(one)} has two edits that can touch the same token ({one.kind} at "
            f"{one.positions!r}, {other.kind} at {other.positions!r}); all edits read the site "
            "before any is made, so one of them would be lost: give them positions that share no "
            "token, keep one, or say conflicts='in_order'"
        )


def refuse_opposite(one: Placed, other: Placed) -> None:
    """Raise `InterventionError` for edits of opposite directions that can touch the same token.

    They set one number from two sides, and no order is known for it; what only adds is no conflict.
    """
    both_add = _adds(one.edit) and _adds(other.edit)
    if not both_add and may_overlap(one.positions, other.positions):
        raise InterventionError(
            f"{named(one.edit)} and {named(other.edit)} point opposite ways along one line and can "
            f"touch the same token ({one.edit.kind}, {other.edit.kind}): give both along the same "
            "direction (the other's value with its sign turned), or positions that share no token"
        )


def _adds(edit: Edit) -> bool:
    """Whether what it adds does not depend on what is there."""
    numbers = edit.numbers
    return numbers.mul == 1 and not (numbers.floors or numbers.caps)


def named(edit: Edit) -> str:
    """What the edit is of, for a sentence."""
    return f"feature {edit.target}" if isinstance(edit, FeatureEdit) else f"{edit.target}"

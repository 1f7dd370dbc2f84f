"""Edits that belong together: one card, one amount, one colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, TypeVar

from dictionaries.files.keys import refuse_unknown
from steer.errors import InterventionError

_LONGEST = 100


@dataclass(frozen=True)
class Group:
    """What the edits steer towards, and how far.

    dose: the present one, a share of the stream's norm; visible: the one that was found to be
    seen in fluent texts; breaking: where most texts break.
    Raises `InterventionError` for doses that are no positive numbers.
    """

    word: str
    dose: float
    visible: float
    breaking: float

    def __post_init__(self) -> None:
        if not isinstance(self.word, str) or not 0 < len(self.word) <= _LONGEST:
            raise InterventionError(f"a group is named by 1 to {_LONGEST} characters")
        for name in ("dose", "visible", "breaking"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InterventionError(f"{name} {value!r} of {self.word!r} is no number above 0")

    @classmethod
    def from_dict(cls, data: Any) -> Group:
        """Inverse of `asdict`."""
        names = ("word", "dose", "visible", "breaking")
        if not isinstance(data, dict) or not set(names) <= set(data):
            raise InterventionError(f"a group is a JSON object of {', '.join(names)}")
        refuse_unknown(data, set(names), "a group", InterventionError)
        return cls(**data)


class Grouped(Protocol):
    """A row, as far as it matters here."""

    @property
    def dictionary(self) -> str: ...
    @property
    def muted(self) -> bool: ...
    @property
    def group(self) -> Group | None: ...


R = TypeVar("R", bound=Grouped)


def units(rows: Sequence[R]) -> tuple[tuple[R, ...], ...]:
    """The rows as the page shows them: those of a group together, any other alone."""

    def place(numbered: tuple[int, R]) -> tuple[Any, ...]:
        number, row = numbered
        if row.group is None:
            return (number,)
        return row.dictionary, row.group.word, row.muted

    return tuple(tuple(row for _, row in part) for _, part in groupby(enumerate(rows), place))


def unit_at(rows: Sequence[Grouped], number: int) -> slice:
    """Where the unit of a row begins and ends."""
    start = 0
    for unit in units(rows):
        if number < start + len(unit):
            return slice(start, start + len(unit))
        start += len(unit)
    raise InterventionError(f"there is no edit {number + 1}: there are {len(rows)}")

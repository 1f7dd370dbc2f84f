"""What long work is made of: parts, such as prompts, and in each part units.

A unit's rows depend on the job and on nothing else: not on which units ran before it, nor where.
So a job that is stopped, split over processes or spread over machines ends with the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

from steer.disk.ledger import Row

M = TypeVar("M", contravariant=True)
"""What a job is done to: a `Model`, or None where it brings all that it needs."""


@dataclass(frozen=True)
class Opened:
    """A part that is ready to be worked on: how many units it has, and the rows of each."""

    units: int
    rows: Callable[[int], list[Row]]


class Job(Protocol[M]):
    """A value that can be sent to another process: the model comes there on its own.

    stage: its name in a ledger; doing: in words, for the progress; part: what one is called.
    parts: how many; most_units: that any part can have, or more where that is not known yet.
    """

    @property
    def stage(self) -> str: ...

    @property
    def doing(self) -> str: ...

    @property
    def part(self) -> str: ...

    @property
    def parts(self) -> int: ...

    @property
    def most_units(self) -> int: ...

    def open(self, model: M, part: int) -> Opened:
        """Make a part ready: what all its units need is computed once."""
        ...


@dataclass(frozen=True, eq=False)
class Each(Generic[M]):
    """A job whose parts are one unit each: `rows(model, part)` are its rows.

    stage, doing, part, parts: as a `Job` has them.
    """

    stage: str
    doing: str
    part: str
    parts: int
    rows: Callable[[M, int], list[Row]]
    most_units: int = 1

    def open(self, model: M, part: int) -> Opened:
        return Opened(1, lambda _: self.rows(model, part))


def blocks(count: int, most: int) -> list[range]:
    """`count` things cut into blocks of at most `most`, as even as can be."""
    number = -(-count // most)
    edges = [count * i // number for i in range(number + 1)] if number else [0]
    return [range(start, end) for start, end in pairwise(edges)]

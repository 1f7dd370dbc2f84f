"""The list of edits as it is worked on: what it is, and what it was before each change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.playground.state.setup import Row


@dataclass(frozen=True)
class Desk:
    """The list of edits, and what it was before each change."""

    rows: tuple[Row, ...] = ()
    past: tuple[tuple[Row, ...], ...] = ()

    def change(self, rows: Sequence[Row]) -> Desk:
        """The same desk with other rows; nothing is remembered if they are equal."""
        if tuple(rows) == self.rows:
            return self
        return Desk(tuple(rows), (*self.past[-49:], self.rows))

    def undo(self) -> Desk:
        return Desk(self.past[-1], self.past[:-1]) if self.past else self

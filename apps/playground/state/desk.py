"""The list of edits as it is worked on: what it is, and what it was before each change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from apps.playground.state.setup import Row


@dataclass(frozen=True)
class Desk:
    """The list of edits, and what it was before each change.

    turn: of its last drawing; what the page says of another one comes too late.
    """

    rows: tuple[Row, ...] = ()
    past: tuple[tuple[Row, ...], ...] = ()
    turn: int = field(default=0, compare=False)

    def change(self, rows: Sequence[Row]) -> Desk:
        """The same desk with other rows; nothing is remembered if they are equal."""
        if tuple(rows) == self.rows:
            return self
        return replace(self, rows=tuple(rows), past=(*self.past[-49:], self.rows))

    def undo(self) -> Desk:
        if not self.past:
            return self
        return replace(self, rows=self.past[-1], past=self.past[:-1])

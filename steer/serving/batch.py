"""The rows that are decoded together: they join when their prompt is read, and leave when done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from steer.lm.language_model import LanguageModel
from steer.serving.forward import forward
from steer.serving.row import Row
from steer.serving.rows_cache import RowsCache, joined, keep
from steer.serving.ticket import Ticket

Served = tuple[Ticket, Row]


@dataclass(eq=False)
class Batch:
    """rows: in the order of the cache's."""

    model: LanguageModel
    rows: list[Served] = field(default_factory=list)
    _cache: RowsCache = field(default_factory=RowsCache)

    def join(self, begun: Sequence[Served]) -> None:
        """Rows whose prompt is read: their keys and values are the batch's from here on."""
        if not begun:
            return
        own = [self._cache] if self.rows else []
        self._cache = joined([*own, *(row.cache for _, row in begun)])
        self.rows += begun
        for _, row in begun:
            row.cache = RowsCache()

    def stay(self, staying: Sequence[Served]) -> None:
        """Keep these rows, and no more columns than the longest has."""
        if len(staying) == len(self.rows):
            return
        numbers = [number for number, served in enumerate(self.rows) if served in staying]
        if staying:
            keep(self._cache, numbers, max(row.read for _, row in staying))
        else:
            self._cache = RowsCache()
        self.rows = list(staying)

    def decode(self) -> list[Served]:
        """One token more for every row; those that did not come to grief."""
        if not self.rows:
            return []
        rows = [row for _, row in self.rows]
        passes = {n: row.going(row.ids[-1:]) for n, row in enumerate(rows) if row.plans}
        newest, lengths = [row.ids[-1:] for row in rows], [row.read for row in rows]
        try:
            logits = forward(self.model, newest, lengths, self._cache, passes, keep=1)
        except Exception as error:  # no row's alone, such as memory: those that come next go on
            for ticket, _ in self.rows:
                ticket.done.set_exception(error)
            self.stay([])
            return []
        alive = []
        for number, (ticket, row) in enumerate(self.rows):
            try:
                row.has_read_one(passes.get(number), logits[number, -1])
            except Exception as error:  # the row's own, such as an edit that overflows
                ticket.done.set_exception(error)
            else:
                alive.append((ticket, row))
        return alive


def read_part(model: LanguageModel, row: Row, most: int) -> int:
    """Read the next tokens of a row's prompt, alone; how many. Raises what is wrong with the row.

    Alone, and in parts of fixed length, so that what a prompt gives depends on nobody else. Scores
    are of the usual products, as in process, also of texts so short that others are quicker.
    """
    part = row.part(most)
    going = row.going(part) if row.plans else None
    passes = {} if going is None else {0: going}
    scored = row.wants_all
    logits = forward(
        model, [part], [row.read], row.cache, passes, keep=0 if scored else 1, quick=not scored
    )
    row.has_read(part, going, logits[0])
    return len(part)

"""A table that fits: no name and no number is broken or cut, however narrow the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

HARD = "\u00a0"
"""A space at which no line is broken."""
_BOXED, _PLAIN = 3, 2
"""Characters that a column costs with lines around it, and without."""


@dataclass(frozen=True)
class Fitted:
    """Rows of cells under their heads; broken at spaces only.

    Where that is too wide, without lines; where it still is, a block of lines a row, a head and its
    cell on each.
    right: heads of columns of numbers. under: lines below the table.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    title: str = ""
    right: frozenset[str] = frozenset()
    under: Sequence[str] = field(default=())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, "bold")
        for border in (_BOXED, _PLAIN):
            if (widths := self._widths(options.max_width, border)) is not None:
                yield self._table(widths, boxed=border == _BOXED)
                break
        else:
            yield from self._blocks()
        yield from map(Text, self.under)

    def _columns(self) -> list[list[str]]:
        cells = [[str(cell) for cell in row] for row in self.rows]
        return [[head, *column] for head, *column in zip(self.heads, *cells, strict=True)]

    def _widths(self, most: int, border: int) -> list[int] | None:
        """Of each column; None if words would have to be broken."""
        columns = self._columns()
        least = [max(map(_longest_word, column)) for column in columns]
        widths = [max(map(_longest_line, column)) for column in columns]
        room = most - border * len(columns) - 1
        if sum(least) > room:
            return None
        while sum(widths) > room:
            slack = [width - low for width, low in zip(widths, least, strict=True)]
            widest = max(range(len(widths)), key=lambda i: (slack[i] > 0, widths[i]))
            widths[widest] -= 1
        return widths

    def _table(self, widths: Sequence[int], *, boxed: bool) -> Table:
        from rich.table import Table

        table = Table() if boxed else Table(box=None, padding=(0, 1))
        for head, width in zip(self.heads, widths, strict=True):
            table.add_column(
                _broken(head, width), justify="right" if head in self.right else "left", width=width
            )
        for row in self.rows:
            cells = zip(row, widths, strict=True)
            table.add_row(*(_broken(cell, width) for cell, width in cells))
        return table

    def _blocks(self) -> RenderResult:
        for row in self.rows:
            for head, cell in zip(self.heads, row, strict=True):
                shown = cell.replace(HARD, " ") if isinstance(cell, str) else cell
                yield Text.assemble((f"{head}: ", "dim"), shown)
            yield Text("")


def _broken(cell: str | Text, width: int) -> Text:
    """The cell in lines of this width, broken at spaces; hard ones become spaces then."""
    if not isinstance(cell, str):
        return cell
    lines: list[str] = []
    for part in cell.split("\n"):
        line = ""
        for word in part.split(" "):
            longer = f"{line} {word}" if line else word
            if line and cell_len(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return Text("\n".join(lines).replace(HARD, " "))


def _longest_word(cell: str) -> int:
    return max((cell_len(word) for word in cell.replace("\n", " ").split(" ")), default=0)


def _longest_line(cell: str) -> int:
    return max(map(cell_len, cell.split("\n")), default=0)

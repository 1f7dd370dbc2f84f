"""A text around the token where a feature is most active."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from steer.shown import number

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_PEAK = "«{}»"


@dataclass(frozen=True)
class Around:
    """One line: the strongest activation, and the text around its token, which is never cut.

    The token stands in «», so that it is seen without colours; as much before as behind it.
    """

    tokens: Sequence[str]
    activations: Sequence[float]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        top = max(self.activations, default=0.0)
        head = f"{number(top):>7}  "
        peak = list(self.activations).index(top) if self.tokens else 0
        pieces = [token.replace("\n", "⏎") for token in self.tokens]
        if pieces:
            pieces[peak] = _PEAK.format(pieces[peak])
        first, last = _window(pieces, peak, options.max_width - cell_len(head) - 2)
        text = Text(f"{head}{'…' if first > 0 else ' '}", no_wrap=True, overflow="fold")
        for place in range(first, last):
            active = self.activations[place] > 0
            style = "bold reverse" if place == peak else "bold" if active else "dim"
            text.append(pieces[place], style)
        text.append("…" if last < len(pieces) else "")
        yield text


def _window(pieces: Sequence[str], peak: int, room: int) -> tuple[int, int]:
    """Places from the first to behind the last that fit beside the peak, in turn on each side."""
    first, last = peak, min(peak + 1, len(pieces))
    left = room - sum(map(cell_len, pieces[first:last]))
    grown = True
    while grown:
        grown = False
        if first > 0 and cell_len(pieces[first - 1]) <= left:
            first, grown = first - 1, True
            left -= cell_len(pieces[first])
        if last < len(pieces) and cell_len(pieces[last]) <= left:
            left, last, grown = left - cell_len(pieces[last]), last + 1, True
    return first, last

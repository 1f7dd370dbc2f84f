"""How results show themselves: a few lines where they are printed, a table in a notebook.

Every result that is a table has `.frame`, a pandas DataFrame with the defaults of its `to_frame`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pandas

LINES, ROWS = 5, 20
"""Rows of a table in a terminal and in a notebook."""
_MEASURED = {
    "LogitDifference": "a logit or a difference of logits, in logits",
    "LogProbability": "log probability, in nats",
    "Loss": "loss, in nats a token",
    "Divergence": "KL, in nats",
    "kl": "KL, in nats",
}
"""Metrics by their names in results; one of the user's own has its name alone."""
INK = "194, 87, 26"
"""The colour of activations, as `steer.figures.palette` has it for edits."""


def number(value: Any) -> str:
    """A value in a table: three digits of a number, and a dash for what is not known."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
    return str(value)


def measured(metric: str) -> str:
    """A metric by its name in results, in words and with its unit."""
    return _MEASURED.get(metric, metric)


def visible(token: str) -> str:
    """A token with its white space made visible."""
    return repr(token)[1:-1].replace(" ", "␣") if token.strip() != token else token


def at(remote: str) -> str:
    """Of a result, where its passes ran: nothing if that was here."""
    return f"; passes sent to {remote}" if remote else ""


class Shown:
    """A result that is a table: a title and its first rows, instead of all that it holds."""

    _columns: ClassVar[Sequence[str]] = ()
    """Those that are shown in a terminal; all if none are named."""

    if TYPE_CHECKING:

        def to_frame(self) -> pandas.DataFrame: ...

    @property
    def frame(self) -> pandas.DataFrame:
        """`to_frame()` with its defaults."""
        return self.to_frame()

    def _title(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        frame = self.frame
        shown = [name for name in self._columns if name in frame] or list(frame)
        lines = as_text(frame[shown].head(LINES))
        rest = len(frame) - LINES
        more = [f"… {rest:,} more rows in .frame"] if rest > 0 else []
        return "\n".join([self._title(), *lines, *more])

    def _repr_html_(self) -> str:
        return f"<p><b>{html.escape(self._title())}</b></p>{as_html(self.frame)}"


def as_text(frame: pandas.DataFrame) -> list[str]:
    """The lines of a table, each number with three digits."""
    cells = frame.map(number)
    return cells.to_string(index=False).splitlines() if len(cells) else []


def as_html(frame: pandas.DataFrame) -> str:
    """The first rows as an HTML table, everything escaped."""
    table: str = frame.head(ROWS).map(number).to_html(index=False, border=0)
    more = len(frame) - ROWS
    return table + (f"<p>{more:,} more rows in <code>.frame</code></p>" if more > 0 else "")


def coloured(
    tokens: Sequence[str], strengths: Sequence[float], titles: Sequence[str] | None = None
) -> str:
    """Tokens as HTML, each as deep in colour as it is strong; titles: shown on pointing."""
    most = max((abs(value) for value in strengths), default=0.0) or 1.0
    said = titles or [number(float(value)) for value in strengths]
    return "".join(
        f'<span style="background: rgba({INK}, {abs(strength) / most:.2f})" '
        f'title="{html.escape(title)}">{html.escape(token).replace(chr(10), "⏎<br>")}</span>'
        for token, strength, title in zip(tokens, strengths, said, strict=True)
    )


def beside(columns: dict[str, str]) -> str:
    """HTML texts beside one another, a column each, under its heading."""
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    cells = "".join(
        f'<td style="text-align: left; vertical-align: top; white-space: pre-wrap">{text}</td>'
        for text in columns.values()
    )
    return f"<table><tr>{heads}</tr><tr>{cells}</tr></table>"

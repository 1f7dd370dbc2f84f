"""The look of the figures of the experiments, and the files that they are written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dictionaries.extras import said as missing
from steer.errors import SteerError
from steer.figures import files as figure_files
from steer.figures.palette import COLOURS, INK
from steer.figures.style import style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_DASHES = ("solid", "dash", "dot")
_PATTERNS = ("", "/", "x")
_WIDTH = 860
"""Pixels of a picture; a page is as wide as its window."""


def panels(
    title: str, headings: Sequence[str] = ("",), *, rows: int = 1, height: int = 440, **more: Any
) -> Figure:
    """Empty panels side by side, in `rows` rows, with the legend below them.

    more: for plotly's `make_subplots`.
    """
    from plotly.subplots import make_subplots

    figure: Figure = make_subplots(
        rows=rows, cols=len(headings) // rows, subplot_titles=headings, **more
    )
    style(figure, title, height)
    figure.update_annotations(font_size=13)
    figure.update_xaxes(automargin=True)
    return figure.update_layout(
        legend={"yref": "container", "y": 0.01, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        margin={"t": 80, "b": 100},
    )


def line(number: int) -> dict[str, Any]:
    """Colour and dash of the number-th line: no two of the first twelve look alike."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "dash": _DASHES[number // len(COLOURS) % len(_DASHES)],
        "width": 2,
    }


def add_bars(
    figure: Figure,
    rows: Sequence[Mapping[str, Any]],
    label: str,
    value: str,
    bounds: tuple[str, str] | None = None,
    *,
    number: int = 0,
    **more: Any,
) -> None:
    """A horizontal bar a row, the first on top, with its interval; a row without a value has none.

    label, value, bounds: columns. number: of the colour. more: for plotly's `add_bar`.
    """
    error = None
    if bounds:
        below, above = (
            [abs((row[bound] or 0.0) - (row[value] or 0.0)) for row in rows] for bound in bounds
        )
        error = {"array": above, "arrayminus": below, "thickness": 1.5, "color": INK}
    figure.add_bar(
        x=[row[value] for row in rows],
        y=[str(row[label]) for row in rows],
        error_x=error,
        orientation="h",
        marker={
            "color": COLOURS[number % len(COLOURS)],
            "pattern": {"shape": _PATTERNS[number // len(COLOURS) % len(_PATTERNS)]},
        },
        **more,
    )
    place = {key: more[key] for key in ("row", "col") if key in more}
    figure.update_yaxes(autorange="reversed", type="category", **place)


def write(figure: Figure, out: Path, name: str) -> str:
    """NAME.html, which opens without a network, and the picture NAME.svg.

    Returns why there is no picture: "" or a sentence. A page needs only plotly, a picture a
    browser too, and an experiment is not to be lost for want of one.
    """
    figure_files.save(figure, out / f"{name}.html")
    if find_spec("kaleido") is None:
        return f"a .svg needs kaleido, and a Chrome for it; {missing('kaleido')}"
    try:
        figure_files.save(figure.update_layout(width=_WIDTH), out / f"{name}.svg")
    except SteerError as error:
        return str(error)
    return ""

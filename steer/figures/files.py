"""Figures saved as HTML or as a picture.

An HTML file holds plotly itself, so that it opens without a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dictionaries.extras import need
from dictionaries.files.place import writable_file
from steer.errors import SteerError

if TYPE_CHECKING:
    import plotly.graph_objects as go

PICTURES = (".png", ".svg", ".pdf")


def check(file: Path) -> Path:
    """The file, if a figure can be saved there. Raises `SteerError` otherwise."""
    ending = file.suffix.lower()
    if ending != ".html" and ending not in PICTURES:
        raise SteerError(f"{file}: the ending {ending!r} is not allowed; give .html or .png")
    need("plotly", *(() if ending == ".html" else ("kaleido",)))
    return writable_file(file)


def save(figure: go.Figure, file: Path) -> Path:
    """As .html, or as .png, .svg or .pdf where kaleido is installed and finds a Chrome.

    Raises `SteerError` for another ending, or where no picture can be made.
    """
    if check(file).suffix.lower() == ".html":
        figure.write_html(file, include_plotlyjs=True, full_html=True)
        return file
    try:
        figure.write_image(file, scale=2)
    except (RuntimeError, ValueError) as error:
        raise SteerError(f"{file} was not drawn: {error}; a .html file needs no Chrome") from error
    return file

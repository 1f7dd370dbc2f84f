"""A figure of the result, with --plot FILE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import plotly.graph_objects as go


def _drawable(file: Path | None) -> Path | None:
    """Before anything is measured: whether --plot can be saved."""
    from steer.figures import files as figure_files

    return None if file is None else figure_files.check(file)


@dataclass(frozen=True)
class Plot:
    """Where a figure is saved, if one is asked for."""

    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw it too: FILE.html or FILE.png.", callback=_drawable
        ),
    ] = None

    def draw(self, figure: Callable[[], go.Figure]) -> None:
        """Save what `figure()` gives, if --plot was given."""
        if self.plot is not None:
            from steer.figures import files as figure_files

            figure_files.save(figure(), self.plot)

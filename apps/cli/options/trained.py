"""What trainers side by side are to train: --width, --k, --batch, --samples and --rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from apps.studies.trainers.size import Size


@dataclass(frozen=True)
class Trained:
    """A dictionary, and on how much."""

    width: Annotated[int, typer.Option(min=1, help="Features.")] = 6144
    k: Annotated[int, typer.Option(min=1, help="Active features a token.")] = 32
    batch: Annotated[int, typer.Option(min=1, help="Activations a step.")] = 2048
    samples: Annotated[
        int, typer.Option(min=1, help="Activations that each trainer sees, once.")
    ] = 98_304
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each trainer has.")] = 8

    @property
    def size(self) -> Size:
        """Raises `SteerError` where some trainer can't do it."""
        from apps.studies.trainers.size import Size

        return Size(self.width, self.k, self.batch, self.samples, self.rounds)

"""What a dictionary is for, and the per-token normalisation that it may need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dictionaries.errors import DictionaryError

NORMALISATIONS = ("none", "constant_norm_rescale", "layer_norm")


@dataclass(frozen=True)
class DictionaryConfig:
    """What a dictionary is for, apart from its weights.

    d_in: width of the site it reads.
    width: number of features.
    hookpoint: the site, such as `resid_post.20`; None if the file does not say.
    model: name of the model it was trained on; None if the file does not say.
    normalisation: per-token normalisation of the input, one of `NORMALISATIONS`.
    d_out: width of the site a transcoder writes; None for an SAE, which writes where it reads.
    hookpoint_out: the site a transcoder writes; None for an SAE, or if the file does not say.
    metadata: whatever else the file said, kept for writing it back.
    partial: whether others write the rest of its site, so that it can't be reconstructed: a block
        of a cross-layer transcoder that is not its first.
    """

    d_in: int
    width: int
    hookpoint: str | None = None
    model: str | None = None
    normalisation: str = "none"
    d_out: int | None = None
    hookpoint_out: str | None = None
    metadata: tuple[tuple[str, Any], ...] = ()
    partial: bool = False

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            allowed = ", ".join(NORMALISATIONS)
            raise DictionaryError(
                f"normalisation {self.normalisation!r} is unknown; allowed: {allowed}"
            )


@dataclass(frozen=True)
class Norm:
    """How to undo per-token normalisation: x = x' * scale + shift.

    scale [..., 1]; shift [..., 1], or [..., d_in] of a temporal dictionary, whose predicted part it
    adds back; None for neither.
    """

    scale: Tensor | None = None
    shift: Tensor | None = None

    def undo(self, x: Tensor) -> Tensor:
        """x' in normalised units -> x in the residual's units."""
        scaled = x if self.scale is None else x * self.scale
        return scaled if self.shift is None else scaled + self.shift

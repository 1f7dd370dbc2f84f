"""Directions in the residual stream, and where they come from.

| source                         | direction                                                    |
|--------------------------------|--------------------------------------------------------------|
| `Vector((…))`                  | the numbers given                                            |
| `DecoderRow(dictionary, i)`    | what feature i writes                                        |
| `Difference(positive, negative)` | mean activation over one prompt set minus that over another |
| `Random(seed)`                 | isotropic; the control                                       |

They are normalised when used: an edit's value is a length along the unit direction, and two of one
direction are one target, whatever their lengths. `"1x vector"` stands for the length that the
source itself has: of a `Random` that is about √d, the length of a standard normal draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from steer.edits.json import from_tagged
from steer.edits.values import check_int64
from steer.errors import InterventionError

_LONGEST = 3e38


@dataclass(frozen=True)
class Direction:
    """Where a direction comes from; resolved to a tensor [d] when the edit is lowered."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class Vector(Direction):
    """Numbers; a tensor or array is taken too."""

    values: Sequence[float]
    kind: ClassVar[str] = "vector"

    def __repr__(self) -> str:
        length = math.sqrt(sum(value * value for value in self.values))
        first = ", ".join(f"{value:.3g}" for value in self.values[:3])
        more = ", …" if len(self.values) > 3 else ""
        return f"Vector({first}{more}: {len(self.values)} numbers, length {length:.3g})"

    def __post_init__(self) -> None:
        values = getattr(self.values, "tolist", lambda: self.values)()
        try:
            object.__setattr__(self, "values", tuple(float(value) + 0.0 for value in values))
        except (TypeError, ValueError, OverflowError) as error:
            raise InterventionError(f"a direction's values must be numbers: {error}") from error
        if not self.values or not all(map(math.isfinite, self.values)):
            raise InterventionError("a direction's values must be finite numbers, at least one")
        if not any(self.values):
            raise InterventionError("a direction of zeros points nowhere")
        if (length := math.hypot(*self.values)) > _LONGEST:
            raise InterventionError(
                f"a direction of length {length:.3g} is longer than the {_LONGEST:g} that float32 "
                "holds"
            )


@dataclass(frozen=True)
class DecoderRow(Direction):
    """The decoder row of a feature."""

    dictionary: str
    feature: int
    kind: ClassVar[str] = "decoder_row"

    def __post_init__(self) -> None:
        if not isinstance(self.dictionary, str) or not self.dictionary:
            raise InterventionError(
                f"a decoder row is of a dictionary that is named, not of {self.dictionary!r}"
            )
        whole = isinstance(self.feature, int) and not isinstance(self.feature, bool)
        if not whole or self.feature < 0:
            raise InterventionError(f"feature must be an index, not {self.feature!r}")


@dataclass(frozen=True)
class Difference(Direction):
    """Difference of means at the last token of each prompt (Marks & Tegmark 2023)."""

    positive: Sequence[str]
    negative: Sequence[str]
    kind: ClassVar[str] = "difference"

    def __post_init__(self) -> None:
        for name in ("positive", "negative"):
            prompts = getattr(self, name)
            if isinstance(prompts, str) or not isinstance(prompts, Sequence) or not prompts:
                raise InterventionError(f"{name} must be one or more prompts, not {prompts!r}")
            object.__setattr__(self, name, tuple(prompts))


@dataclass(frozen=True)
class Random(Direction):
    """A seeded isotropic direction: a draw from a standard normal, of length about √d."""

    seed: int = 0
    kind: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        check_int64("seed", self.seed)


DIRECTIONS: dict[str, type[Direction]] = {
    cls.kind: cls for cls in (Vector, DecoderRow, Difference, Random)
}


def direction_from_dict(data: Any) -> Direction:
    """Inverse of `Direction.to_dict`; unknown kinds and keys are refused by name."""
    return from_tagged(data, DIRECTIONS, "direction")

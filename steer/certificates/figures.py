"""Published figures, and how far off a measured one may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steer.errors import FormatError
from steer.quality.result import FVU_FACTOR, L0_FACTOR

NAMES = ("l0", "fvu", "explained_variance", "delta_ce", "ce_score")
"""ce_score: share of the loss that zero ablation costs which the reconstruction gives back."""
OF_READINGS = ("l0", "fvu", "explained_variance")
"""What is measured of every reading, since it takes no further pass of the model."""
_LEAST_FVU, _LEAST_COST = 0.02, 0.05
_SAME_TEXT = {"l0": 0.05, "delta_ce": 0.1}
"""Relative, where the texts are the published ones; shares are compared as they are."""
_SHARE = 0.02


@dataclass(frozen=True)
class Stated:
    """A published figure, and the bounds within which a measured one agrees with it."""

    value: float
    low: float
    high: float

    def excess(self, measured: float) -> float:
        """How far off, in widths of the side that it is off by: 1 at the bound, 0 where equal."""
        if not math.isfinite(measured):
            return math.inf
        width = self.high - self.value if measured > self.value else self.value - self.low
        off = abs(measured - self.value)
        return 0.0 if not off or math.isinf(width) else off / width if width else math.inf

    @property
    def allowed(self) -> str:
        """The bounds in words."""
        if math.isinf(self.low):
            return f"at most {self.high:.3f}"
        if math.isinf(self.high):
            return f"at least {self.low:.3f}"
        return f"{self.low:.3f} to {self.high:.3f}"

    def agrees(self, measured: float) -> bool:
        return self.excess(measured) <= 1


def stated(said: Any, path: Path, *, exact: bool) -> dict[str, Stated]:
    """The figures of a published file; exact: whether the texts that they are of are known.

    Raises `FormatError` for a figure that is not known, or is no number.
    """
    if not isinstance(said, Mapping):
        raise FormatError(f"{path} has figures that are no JSON object")
    figures = {}
    for name, entry in said.items():
        if name not in NAMES:
            raise FormatError(f"{path} states {name!r}; allowed: {', '.join(NAMES)}")
        given = dict(entry) if isinstance(entry, Mapping) else {"value": entry}
        value, tolerance = given.pop("value", None), given.pop("tolerance", None)
        if given or not _number(value) or not (tolerance is None or _number(tolerance)):
            raise FormatError(
                f"{path} states {name} = {entry!r}, expected a number, or "
                '{"value": number, "tolerance": number}'
            )
        if tolerance is not None:
            figures[name] = Stated(value, value - abs(tolerance), value + abs(tolerance))
        else:
            figures[name] = _on_same_texts(name, value) if exact else _on_other_texts(name, value)
    return figures


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _on_same_texts(name: str, value: float) -> Stated:
    width = _SAME_TEXT.get(name, 0.0) * abs(value) + (0 if name == "l0" else _SHARE)
    return Stated(value, value - width, value + width)


def _on_other_texts(name: str, value: float) -> Stated:
    """As `steer check` has it: figures on other texts differ, but by no more than a factor."""
    match name:
        case "l0":
            return Stated(value, value / L0_FACTOR, value * L0_FACTOR)
        case "fvu":
            return Stated(value, -math.inf, FVU_FACTOR * max(value, _LEAST_FVU))
        case "delta_ce":
            return Stated(value, -math.inf, FVU_FACTOR * max(value, _LEAST_COST))
        case _:
            return Stated(value, 1 - FVU_FACTOR * max(1 - value, _LEAST_FVU), math.inf)

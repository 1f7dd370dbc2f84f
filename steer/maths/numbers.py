"""Numbers that a person gives: what is none, and what no tensor can hold, is refused by name."""

from __future__ import annotations

import math
from numbers import Integral, Real

from steer.errors import SteerError

SEEDS = 2**63 - 1
"""The largest that torch and Python's own generators both take."""


def check_number(name: str, value: object, *, optional: bool = False) -> None:
    """Raise `SteerError` unless it is a number and not infinite; optional: or None."""
    if value is None and optional:
        return
    if not isinstance(value, Real) or isinstance(value, bool) or not _finite(value):
        raise SteerError(f"{name}={value!r} is not allowed: it must be a finite number")


def check_whole(
    name: str, value: object, most: int = SEEDS, least: int = 0, *, optional: bool = False
) -> None:
    """Raise `SteerError` unless it is a whole number from least to most; optional: or None."""
    if value is None and optional:
        return
    whole = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if whole is None or not least <= whole <= most:
        limit = "2**63 - 1" if most == SEEDS else f"{most:,}"
        raise SteerError(
            f"{name}={value!r} is not allowed: it must be a whole number from {least} to {limit}"
        )


def _finite(value: Real) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False

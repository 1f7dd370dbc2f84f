"""Values of edits: a number, or a multiple of something known about the feature, as text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from steer.errors import InterventionError

Value = float | str
_MULTIPLE = re.compile(
    r"\s*(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*x\s*(max|mean|norm|vector|q\d{1,2})?\s*"
)


@dataclass(frozen=True)
class Dose:
    """A parsed value: `amount` of `unit`: activation, max, mean, a quantile, norm or vector."""

    amount: float
    unit: str


def parse_value(value: Value) -> Dose:
    """5 -> 5 activation; "5x max" or "5x" -> 5 max. Raises `InterventionError` otherwise."""
    if isinstance(value, str):
        if match := _MULTIPLE.fullmatch(value):
            return Dose(finite(float(match[1])), match[2] or "max")
        try:
            return Dose(finite(float(value)), "activation")
        except ValueError:
            raise InterventionError(
                f'value {short(value)} is not allowed: give a number, or text such as "5x max", '
                '"2x mean", "1x q99" or "0.5x norm"'
            ) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InterventionError(f"value {short(value)} is not a number or text such as '5x max'")
    return Dose(finite(value), "activation")


def finite(value: float) -> float:
    """The same as a float. Raises `InterventionError` for NaN, infinity, and what has no float."""
    try:
        number = float(value)
    except OverflowError:
        raise InterventionError(
            f"value {short(value)} is not allowed: it is beyond the largest float"
        ) from None
    if not math.isfinite(number):
        raise InterventionError(f"value {value!r} is not allowed: it must be a finite number")
    return number + 0.0  # -0.0 is equal to 0.0, and would be another text


def check_int64(name: str, value: object) -> None:
    """Raise `InterventionError` unless it is a whole number that a tensor can hold."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise InterventionError(
            f"{name}={short(value)} is not allowed: it must be a whole number below 2**63"
        )


def short(value: object) -> str:
    """A value in a message: its repr, cut where nobody would read on."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python writes
        return "of thousands of digits"
    return text if len(text) <= _MOST else f"{text[:_MOST]}… ({len(text):,} characters)"


_MOST = 60


def canonical_value(value: Value) -> Value:
    dose = parse_value(value)
    if dose.unit == "activation":
        return dose.amount
    return f"{repr(dose.amount).removesuffix('.0')}x {dose.unit}"

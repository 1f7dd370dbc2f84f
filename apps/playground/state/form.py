"""The controls of a row as they are typed, and the edits they stand for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from apps.playground.state.setup import KINDS, Row, read_rows
from steer.edits import Edit, parse_value
from steer.edits.conditions import Condition
from steer.edits.phrases import parse_condition, parse_schedule
from steer.edits.positions import NAMED, Positions, Tokens, canonical
from steer.edits.schedules import Schedule
from steer.errors import InterventionError

_SHARED = ("dictionary", "muted", "feature", "positions", "when", "schedule")
"""Fields that every kind of edit has."""


def read_form(data: Any) -> tuple[Row, ...]:
    """Rows as the page's form gives them: the row it was made from, and what the controls say."""
    plain = []
    for number, item in enumerate(data if isinstance(data, list) else [], 1):
        try:
            plain.append(_read_controls(item))
        except InterventionError as error:
            raise InterventionError(f"edit {number}: {error}") from error
    return read_rows(plain)


def _read_controls(item: dict[str, Any]) -> dict[str, Any]:
    row = {**item["row"], "muted": item["muted"], "positions": read_positions(item["positions"])}
    _set(row, "when", item.get("when"), parse_condition)
    _set(row, "schedule", item.get("schedule"), parse_schedule)
    if item["kind"] not in KINDS:
        return row
    return _retyped(row, item["kind"], _number(item["amount"]), item["unit"])


def _set(
    row: dict[str, Any],
    name: str,
    typed: str | None,
    parse: Callable[[str], Condition | Schedule],
) -> None:
    """What is typed into a field of the row; nothing typed takes it away."""
    if typed is None:
        return
    row.pop(name, None)
    if typed.strip():
        row[name] = parse(typed).to_dict()


def _retyped(row: dict[str, Any], kind: str, amount: float, unit: str) -> dict[str, Any]:
    """The row with another amount, or as another kind, which shares only the usual fields."""
    same = row["kind"] == kind
    kept = {key: value for key, value in row.items() if key in _SHARED or same}
    kept = {key: value for key, value in kept.items() if key not in ("value", "factor")}
    kept["kind"] = kind
    if kind == "scale":
        kept["factor"] = amount
    elif kind != "ablate":
        kept["value"] = amount if unit == "activation" else f"{amount:g}x {unit}"
    return kept


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InterventionError(
            f"the amount {value!r} is not a finite number; write one, such as 2"
        )
    return number


def read_positions(text: str) -> str | int | list[int] | dict[str, Any]:
    """What is typed into a row: a name, `3`, `2:5`, `1, 4, 7`, or `tokens " cat", " dog"`."""
    plain = text.strip()
    if named := re.fullmatch(r"tokens?\b(.*)", plain, re.DOTALL):
        return {"tokens": _read_tokens(named[1])}
    if re.fullmatch(r"-?\d+", plain):
        return int(plain)
    if re.fullmatch(r"-?\d+(\s*,\s*-?\d+)+", plain):
        return [int(part) for part in plain.split(",")]
    if plain and plain not in NAMED and not re.fullmatch(r"(-?\d+)?:(-?\d+)?(:\d+)?", plain):
        raise InterventionError(
            f"the tokens {plain!r} are not understood; write {', '.join(NAMED)}, 3, 2:5, 1, 4, 7 "
            'or tokens " cat", " dog"'
        )
    return plain or "all"


def _read_tokens(text: str) -> list[str | int]:
    try:
        found: list[str | int] = json.loads(f"[{text}]")
    except json.JSONDecodeError:
        found = []
    if not found:
        raise InterventionError(
            f"the tokens {text.strip()!r} are not understood; write them in quotes, with the space "
            'that a word begins with: tokens " cat", " dog"'
        )
    return found


def show_positions(given: Positions) -> str:
    """Inverse of `read_positions`."""
    positions = canonical(given)
    if isinstance(positions, Tokens):
        return f"tokens {json.dumps(positions.tokens, ensure_ascii=False)[1:-1]}"
    return ", ".join(map(str, positions)) if isinstance(positions, tuple) else str(positions)


def amount_of(edit: Edit) -> tuple[float | None, str]:
    """The number on the row's slider and its unit; None for an edit without one."""
    plain = edit.to_dict()
    if "factor" in plain:
        return plain["factor"], "times"
    if plain.get("value") is None:
        return None, ""
    dose = parse_value(plain["value"])
    return dose.amount, dose.unit

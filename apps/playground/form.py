"""The controls of a row as they are typed, and the edits they stand for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from apps.playground.state import KINDS, Row, read_rows
from steer.conditions import Condition
from steer.edits import Edit, parse_value
from steer.errors import InterventionError
from steer.phrases import parse_condition, parse_schedule
from steer.positions import Positions, Tokens, canonical
from steer.schedules import Schedule


def read_form(data: Any) -> tuple[Row, ...]:
    """Rows as the page's form gives them: the row it was made from, and what the controls say."""
    plain = []
    for item in data if isinstance(data, list) else []:
        origin, amount = dict(item["row"]), item["amount"]
        origin["muted"] = item["muted"]
        if isinstance(item["positions"], str):
            origin["positions"] = read_positions(item["positions"])
        _set(origin, "when", item.get("when"), parse_condition)
        _set(origin, "schedule", item.get("schedule"), parse_schedule)
        if item["kind"] in KINDS:
            origin = _retyped(origin, item["kind"], _number(amount), item["unit"])
        plain.append(origin)
    return read_rows(plain)


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
    kept = {key: value for key, value in row.items() if key not in ("value", "factor")}
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
        raise InterventionError(f"the amount {value!r} is not a finite number")
    return number


def read_positions(text: str) -> str | int | list[int]:
    """What is typed into a row: a name, `3`, `2:5`, or `1, 4, 7`."""
    plain = text.strip()
    if re.fullmatch(r"-?\d+", plain):
        return int(plain)
    if re.fullmatch(r"-?\d+(\s*,\s*-?\d+)+", plain):
        return [int(part) for part in plain.split(",")]
    return plain or "all"


def show_positions(given: Positions) -> str:
    """Inverse of `read_positions`; tokens by name can't be typed and are only shown."""
    positions = canonical(given)
    if isinstance(positions, Tokens):
        return f"tokens {', '.join(map(str, positions.tokens))}"
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

"""The controls of a row as they are typed, and the edits they stand for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from apps.playground.state.setup import KINDS, Row, read_rows
from steer.edits import Edit, parse_value
from steer.edits.conditions import Condition
from steer.edits.phrases import parse_condition, parse_positions, parse_schedule
from steer.edits.positions import Tokens
from steer.edits.schedules import Schedule
from steer.errors import InterventionError

USUAL = {"norm": 0.3, "max": 2.0, "mean": 2.0, "activation": 10.0, "times": 2.0}
"""An amount of each unit to begin with: what is seen in most texts, and breaks few."""
_SHARED = ("dictionary", "muted", "group", "feature", "positions", "when", "schedule")
"""Fields that every kind of edit has."""


def read_typed(text: str) -> tuple[Row, ...]:
    """As `read_form`, of its JSON. Raises `InterventionError` for what is none."""
    try:
        return read_form(json.loads(text or "[]"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InterventionError(f"the edits are not JSON: {error}") from error


def read_form(data: Any) -> tuple[Row, ...]:
    """Rows as the page's form gives them: the row it was made from, and what the controls say.

    Raises `InterventionError` for a wrong value, and for what the page would not have written.
    """
    if not isinstance(data, list):
        raise InterventionError(f"the edits must be a list, not {type(data).__name__}")
    plain: list[dict[str, Any]] = []
    for number, item in enumerate(data, 1):
        try:
            plain += _read_group(item) if "rows" in item else [_read_controls(item)]
        except InterventionError as error:
            raise InterventionError(f"edit {number}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise InterventionError(f"edit {number} is not as the page writes it") from error
    return read_rows(plain)


def _read_controls(item: dict[str, Any]) -> dict[str, Any]:
    row = {**item["row"], "muted": item["muted"], "positions": _positions(item["positions"])}
    _set(row, "when", item.get("when"), parse_condition)
    _set(row, "schedule", item.get("schedule"), parse_schedule)
    if item["kind"] not in KINDS:
        return row
    return _retyped(row, item["kind"], _number(item["amount"]), item["unit"])


def _read_group(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of one group, all at the dose that its one control says."""
    dose = _number(item["amount"])
    if dose <= 0:
        raise InterventionError(f"the dose {dose:g} is not above 0; mute the group instead")
    rows = []
    for row in item["rows"]:
        share = dose / row["group"]["dose"]
        changed = {"muted": item["muted"], "group": {**row["group"], "dose": dose}}
        for name in ("value", "factor"):
            if name in row and share != 1:
                changed[name] = _times(row[name], share)
        rows.append({**row, **changed})
    return rows


def _times(value: Any, share: float) -> Any:
    """A value that many times."""
    dose = parse_value(value)
    amount = dose.amount * share
    return amount if dose.unit == "activation" else f"{amount!r}x {dose.unit}"


def _positions(typed: str) -> Any:
    """What is typed, as it stands in a row's JSON; nothing typed is every token."""
    positions = parse_positions(typed) if typed.strip() else "all"
    return positions.to_dict() if isinstance(positions, Tokens) else positions


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
    if not same and unit in ("norm", "activation") and {"scale", "ablate"} & {kind, row["kind"]}:
        amount = USUAL["times" if kind == "scale" else unit]  # twice is no share of a norm
    shared = {key: value for key, value in row.items() if key in _SHARED or same}
    shared = {key: value for key, value in shared.items() if key not in ("value", "factor")}
    shared["kind"] = kind
    if kind == "scale":
        shared["factor"] = amount
    elif kind != "ablate":
        shared["value"] = amount if unit == "activation" else f"{amount:g}x {unit}"
    return shared


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


def amount_of(edit: Edit) -> tuple[float | None, str]:
    """The number on the row's slider and its unit; None for an edit without one."""
    plain = edit.to_dict()
    if "factor" in plain:
        return plain["factor"], "times"
    if plain.get("value") is None:
        return None, ""
    dose = parse_value(plain["value"])
    return dose.amount, dose.unit

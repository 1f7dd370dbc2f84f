"""What the user asked for, as values: everything the app knows, and the forms it travels in.

A row holds a real `Edit`, so a new kind of edit or a new field of one needs nothing here: what the
page has no control for is kept as it came.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from steer.conditions import Condition
from steer.edits import Edit, Intervention, edit_from_dict, parse_value
from steer.errors import InterventionError, SteerError
from steer.phrases import parse_condition, parse_schedule
from steer.positions import Positions, Tokens, canonical
from steer.schedules import Schedule

VERSION = 1
MOST_ROWS = 12
MOST_TOKENS = 400
MOST_CHARACTERS = 40_000
_MOST_BYTES = 2**20
KINDS = ("clamp", "add", "scale", "ablate", "floor", "cap")
"""The kinds that the page offers; any other comes from JSON and can be muted or removed."""


@dataclass(frozen=True)
class Row:
    """One edit of the list, of one dictionary; a muted one is kept but not applied."""

    dictionary: str
    edit: Edit
    muted: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {"dictionary": self.dictionary, "muted": self.muted, **self.edit.to_dict()}

    @classmethod
    def from_dict(cls, data: Any) -> Row:
        """Inverse of `to_dict`. Raises `InterventionError`, as `edit_from_dict` does."""
        if not isinstance(data, dict) or not isinstance(data.get("dictionary"), str):
            raise InterventionError("an edit is a JSON object that names its dictionary")
        rest = {key: value for key, value in data.items() if key not in ("dictionary", "muted")}
        return cls(data["dictionary"], edit_from_dict(rest), bool(data.get("muted", False)))


@dataclass(frozen=True)
class Setup:
    """A prompt, the edits, and how tokens are chosen.

    chat: put the prompt into the model's chat template, as the user's turn.
    """

    prompt: str
    chat: bool = False
    rows: tuple[Row, ...] = ()
    max_new_tokens: int = 40
    temperature: float = 0.7
    repetition_penalty: float = 1.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `SteerError` with the limit that is passed. The rest is checked by `steer`."""
        if len(self.prompt) > MOST_CHARACTERS:
            raise SteerError(
                f"the prompt has {len(self.prompt):,} characters; at most {MOST_CHARACTERS:,}"
            )
        if len(self.rows) > MOST_ROWS:
            raise SteerError(f"there are {len(self.rows)} edits; at most {MOST_ROWS} at once")
        for name, low, high in (
            ("max_new_tokens", 1, MOST_TOKENS),
            ("temperature", 0, 5),
            ("repetition_penalty", 0.1, 5),
            ("seed", 0, 2**32 - 1),
        ):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not low <= value <= high:
                raise SteerError(f"{name} {value!r} is not allowed: {low} to {high:,}")

    @property
    def sampling(self) -> dict[str, Any]:
        """Keyword arguments of `Model.generate`."""
        names = ("max_new_tokens", "temperature", "repetition_penalty", "seed")
        return {name: getattr(self, name) for name in names}

    @property
    def active(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.muted)

    def interventions(self) -> tuple[Intervention, ...]:
        """The rows that are not muted, grouped by dictionary in the order of appearance."""
        groups: dict[str, list[Edit]] = {}
        for row in self.active:
            groups.setdefault(row.dictionary, []).append(row.edit)
        return tuple(Intervention(name, edits) for name, edits in groups.items())

    def to_dict(self) -> dict[str, Any]:
        rows = [row.to_dict() for row in self.rows]
        return {"version": VERSION, **asdict(replace(self, rows=())), "rows": rows}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    def to_fragment(self) -> str:
        """For the part of a URL after `#`, which no browser sends to a server."""
        packed = zlib.compress(json.dumps(self.to_dict(), ensure_ascii=False).encode(), 9)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def from_dict(cls, data: Any) -> Setup:
        """Inverse of `to_dict`. Raises `SteerError` for anything else."""
        if not isinstance(data, dict) or not isinstance(data.get("prompt"), str):
            raise SteerError("a saved state is a JSON object with a prompt and rows")
        if data.get("version", VERSION) != VERSION:
            raise SteerError(f"version {data['version']!r} is unknown; this one reads {VERSION}")
        allowed = {"version", *(field.name for field in fields(cls))}
        if unknown := sorted(set(data) - allowed):
            raise SteerError(f"a saved state has no {', '.join(unknown)}")
        rest = {key: value for key, value in data.items() if key not in ("version", "rows")}
        return cls(**rest, rows=read_rows(data.get("rows", [])))

    @classmethod
    def from_json(cls, text: str) -> Setup:
        if len(text) > _MOST_BYTES:
            raise SteerError(f"the JSON has {len(text):,} characters; at most {_MOST_BYTES:,}")
        try:
            return cls.from_dict(json.loads(text))
        except (json.JSONDecodeError, RecursionError) as error:
            raise SteerError(f"this is not JSON: {error}") from error

    @classmethod
    def from_fragment(cls, text: str) -> Setup:
        """Inverse of `to_fragment`; a link that unpacks to over a megabyte is refused."""
        try:
            packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            unpacker = zlib.decompressobj()
            plain = unpacker.decompress(packed, _MOST_BYTES)
            if not unpacker.eof:
                raise ValueError("cut off, or too long")
            return cls.from_json(plain.decode())
        except (ValueError, zlib.error) as error:
            if isinstance(error, SteerError):
                raise
            raise SteerError(f"the link's state can't be read: {error}") from error


def read_rows(data: Any) -> tuple[Row, ...]:
    """Rows from plain data. Raises `InterventionError` that says which edit is wrong."""
    if not isinstance(data, list):
        raise InterventionError(f"the edits are a list, not {type(data).__name__}")
    rows = []
    for number, each in enumerate(data, 1):
        try:
            rows.append(Row.from_dict(each))
        except (SteerError, TypeError) as error:
            raise InterventionError(f"edit {number}: {error}") from error
    return tuple(rows)


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


@dataclass(frozen=True)
class Desk:
    """The list of edits, and what it was before each change."""

    rows: tuple[Row, ...] = ()
    past: tuple[tuple[Row, ...], ...] = ()

    def change(self, rows: Sequence[Row]) -> Desk:
        """The same desk with other rows; nothing is remembered if they are equal."""
        if tuple(rows) == self.rows:
            return self
        return Desk(tuple(rows), (*self.past[-49:], self.rows))

    def undo(self) -> Desk:
        return Desk(self.past[-1], self.past[:-1]) if self.past else self

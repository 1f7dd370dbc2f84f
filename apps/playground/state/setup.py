"""What the user asked for, as values: everything the app knows, and the forms it travels in.

A row holds a real `Edit`, so a new kind of edit or a new field of one needs nothing here: what the
page has no control for is kept as it came.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from apps.playground.state.groups import Group, units
from dictionaries.files.keys import refuse_unknown
from dictionaries.files.strict_json import read_json
from steer.edits import Edit, Intervention, edit_from_dict
from steer.edits.positions import Rows, canonical, refuse_other_rows
from steer.errors import InterventionError, SteerError

VERSION = 1
MOST_ROWS = 12
MOST_EDITS = 200
MOST_TOKENS = 400
MOST_CHARACTERS = 40_000
_OF_ROWS = ("dictionary", "muted", "group")
_MOST_BYTES = 2**20
KINDS = ("clamp", "add", "scale", "ablate", "floor", "cap")
"""The kinds that the page offers; any other comes from JSON and can be muted or removed."""


@dataclass(frozen=True)
class Row:
    """One edit of the list, of one dictionary; a muted one is kept but not applied.

    Positions for the one row of a batch become that row's own. Raises `InterventionError` for
    those of more rows: the app continues one prompt at a time.
    """

    dictionary: str
    edit: Edit
    muted: bool = False
    group: Group | None = None

    def __post_init__(self) -> None:
        positions = canonical(self.edit.positions)
        if isinstance(positions, Rows):
            refuse_other_rows(positions, 1)
            object.__setattr__(self, "edit", replace(self.edit, positions=positions.specs[0]))

    def to_dict(self) -> dict[str, Any]:
        group = {} if self.group is None else {"group": asdict(self.group)}
        named = {"dictionary": self.dictionary, "muted": self.muted, **group}
        return {**named, **self.edit.to_dict()}

    @classmethod
    def from_dict(cls, data: Any) -> Row:
        """Inverse of `to_dict`. Raises `InterventionError`, as `edit_from_dict` does."""
        if not isinstance(data, dict) or not isinstance(data.get("dictionary"), str):
            raise InterventionError("an edit is a JSON object that names its dictionary")
        rest = {key: value for key, value in data.items() if key not in _OF_ROWS}
        group = None if data.get("group") is None else Group.from_dict(data["group"])
        muted = data.get("muted", False)
        if not isinstance(muted, bool):
            raise InterventionError(f"muted {muted!r} is not allowed: true or false")
        return cls(data["dictionary"], edit_from_dict(rest), muted, group)


@dataclass(frozen=True)
class Setup:
    """A prompt, the edits, and how tokens are chosen.

    chat: put the prompt into the model's chat template, as the user's turn.
    in_order: edits of one feature act one after another instead of being refused.
    """

    prompt: str
    chat: bool = False
    rows: tuple[Row, ...] = ()
    max_new_tokens: int = 40
    temperature: float = 0.7
    repetition_penalty: float = 1.1
    seed: int = 0
    in_order: bool = False

    def __post_init__(self) -> None:
        """Raises `SteerError` with the limit that is passed. The rest is checked by `steer`."""
        if len(self.prompt) > MOST_CHARACTERS:
            raise SteerError(
                f"the prompt has {len(self.prompt):,} characters; at most {MOST_CHARACTERS:,}"
            )
        if (count := len(units(self.rows))) > MOST_ROWS:
            raise SteerError(f"there are {count} edits; at most {MOST_ROWS} at once")
        if len(self.rows) > MOST_EDITS:
            raise SteerError(f"there are {len(self.rows)} features; at most {MOST_EDITS} at once")
        for name, low, high in (
            ("max_new_tokens", 1, MOST_TOKENS),
            ("temperature", 0, 5),
            ("repetition_penalty", 0.1, 5),
            ("seed", 0, 2**32 - 1),
        ):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise SteerError(f"{name} {value!r} is not allowed: {low} to {high:,}")
        for name in ("chat", "in_order"):
            if not isinstance(getattr(self, name), bool):
                raise SteerError(f"{name} {getattr(self, name)!r} is not allowed: true or false")

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
        conflicts: Literal["refuse", "in_order"] = "in_order" if self.in_order else "refuse"
        return tuple(
            Intervention(name, edits, conflicts=conflicts) for name, edits in groups.items()
        )

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
        refuse_unknown(data, allowed, "a saved state", SteerError)
        rest = {key: value for key, value in data.items() if key not in ("version", "rows")}
        return cls(**rest, rows=read_rows(data.get("rows", [])))

    @classmethod
    def from_json(cls, text: str) -> Setup:
        if len(text) > _MOST_BYTES:
            raise SteerError(f"the JSON has {len(text):,} characters; at most {_MOST_BYTES:,}")
        return cls.from_dict(read_json(text, "this is not JSON", SteerError))

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
    for number, edit in enumerate(data, 1):
        try:
            rows.append(Row.from_dict(edit))
        except (SteerError, TypeError) as error:
            raise InterventionError(f"edit {number}: {error}") from error
    return tuple(rows)

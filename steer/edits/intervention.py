"""An intervention: edits of one dictionary's features as one value, with its JSON form.

The kinds of edits are in `steer.edits.kinds`, and can be imported from here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dictionaries.files.keys import refuse_unknown
from dictionaries.files.place import writable_file
from dictionaries.files.strict_json import read_json
from dictionaries.files.whole import write_whole
from steer.edits.base import Edit
from steer.edits.kinds import (
    edit_from_dict,
)
from steer.errors import InterventionError

VERSION = 1
ERROR_POLICIES = ("keep", "frozen", "drop")
CONFLICTS = ("refuse", "in_order")


@dataclass(frozen=True)
class Intervention:
    """Edits of features of one dictionary, applied together at its site.

    dictionary: name of the dictionary; for direction edits alone, a hookpoint will do.
    edits: all read the site as it is before any of them writes there, so that their order does not
        matter. What other interventions of the run did at earlier sites is in it.
    error: what becomes of what the dictionary does not explain: `keep` leaves it in place (the
        default), `frozen` takes it from the clean run, `drop` leaves only the reconstruction.
    conflicts: two edits of one feature that can touch the same token are refused, unless
        `in_order` says that each starts from what the one before it left.
    """

    dictionary: str
    edits: Sequence[Edit]
    error: Literal["keep", "frozen", "drop"] = "keep"
    conflicts: Literal["refuse", "in_order"] = "refuse"

    def __post_init__(self) -> None:
        if not isinstance(self.dictionary, str) or not self.dictionary:
            raise InterventionError(
                f"dictionary must be a name such as 'smollm2-135m/resid_post.20', "
                f"not {self.dictionary!r}"
            )
        if self.error not in ERROR_POLICIES:
            allowed = ", ".join(ERROR_POLICIES)
            raise InterventionError(f"error={self.error!r} is unknown; allowed: {allowed}")
        if self.conflicts not in CONFLICTS:
            allowed = ", ".join(CONFLICTS)
            raise InterventionError(f"conflicts={self.conflicts!r} is unknown; allowed: {allowed}")
        if not isinstance(self.edits, Edit | Sequence):
            raise InterventionError(f"edits is a list of edits, not {self.edits!r}")
        edits = (self.edits,) if isinstance(self.edits, Edit) else tuple(self.edits)
        for edit in edits:
            if not isinstance(edit, Edit):
                raise InterventionError(f"{edit!r} is not an edit such as Clamp(123, '5x max')")
        object.__setattr__(self, "edits", edits)

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "dictionary": self.dictionary,
            "error": self.error,
            "conflicts": self.conflicts,
            "edits": [edit.to_dict() for edit in self.edits],
        }

    def to_json(self) -> str:
        """Canonical JSON: equal interventions give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @property
    def digest(self) -> str:
        """Twelve hex digits that identify the intervention by content."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Intervention:
        if not isinstance(data, dict):
            raise InterventionError(f"an intervention is a JSON object, not {type(data).__name__}")
        refuse_unknown(
            data,
            {"version", "dictionary", "error", "conflicts", "edits"},
            "an intervention",
            InterventionError,
        )
        version = data.get("version", VERSION)
        if type(version) is not int or version != VERSION:
            raise InterventionError(f"version {version!r} is unknown; this release reads {VERSION}")
        if missing := {"dictionary", "edits"} - set(data):
            raise InterventionError(f"an intervention needs {', '.join(sorted(missing))}")
        if not isinstance(data["edits"], list):
            raise InterventionError(f"edits is a list of objects, not {data['edits']!r}")
        edits = [edit_from_dict(edit) for edit in data["edits"]]
        policies = {key: data[key] for key in ("error", "conflicts") if key in data}
        return cls(data["dictionary"], edits, **policies)

    @classmethod
    def from_json(cls, text: str) -> Intervention:
        """Inverse of `to_json`. Raises `InterventionError` for anything else."""
        if not isinstance(text, str | bytes):
            raise InterventionError(f"an intervention is read from JSON text, not from {text!r}")
        return cls.from_dict(read_json(text, "not JSON", InterventionError))

    @classmethod
    def load(cls, path: str | Path) -> Intervention:
        """Read a JSON file. Raises `InterventionError` if there is none, or it holds another."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise InterventionError(f"{path} can't be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InterventionError(f"{path} is not JSON: {error}") from error
        try:
            return cls.from_json(text)
        except InterventionError as error:
            raise InterventionError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        write_whole(writable_file(Path(path)), self.to_json() + "\n")


def as_tuple(interventions: Intervention | Sequence[Intervention]) -> tuple[Intervention, ...]:
    """One intervention or several, as a tuple. Raises `InterventionError` for anything else."""
    several = (interventions,) if isinstance(interventions, Intervention) else interventions
    if isinstance(several, str) or not isinstance(several, Sequence):
        raise InterventionError(f"expected an Intervention or several, not {several!r}")
    for intervention in several:
        if not isinstance(intervention, Intervention):
            raise InterventionError(f"expected an Intervention, not {intervention!r}")
    return tuple(several)

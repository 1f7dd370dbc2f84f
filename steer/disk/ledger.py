"""A file that a long job is written to as it goes, and resumed from.

One JSON document a line. The first says what is being measured; each other line holds a finished
unit of the work, and the last of a stage how many units that had. A line cut short by a crash is
dropped when the file is read again. A finished stage has its lines in the order of its units, so
that whoever did the work, and in however many pieces, the file is the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dictionaries.files.place import writable_file, writable_folder
from dictionaries.files.whole import write_whole
from steer.errors import SteerError

Key = tuple[str | int, ...]
"""A unit of work: the stage that it is of, and where it is in it."""
Row = dict[str, Any]

KINDS = {
    "sweep": "a sweep",
    "pair_sweep": "a sweep of pairs",
    "dose_response": "a dose response",
    "downstream": "a reading downstream",
    "statistics": "a pass of statistics",
    "verdicts": "a table of verdicts",
    "evaluation": "an evaluation",
    "labels": "a set of labels",
    "harvest": "a harvest",
}
"""What files hold, by the name in their headers that has a revision."""
_OTHER = "a job"
_GIVE = "give another file"
_NO_ROWS = "is no file of a job's rows"
_NAMED = 3
"""Names of a header that a message repeats."""


@dataclass(frozen=True)
class Contents:
    """What is in a ledger so far.

    units: the rows of each finished unit. ends: how many units each finished stage has.
    """

    header: dict[str, Any]
    units: dict[Key, list[Row]]
    ends: dict[str, int]

    @property
    def kind(self) -> str:
        """Which of `KINDS`; empty for others."""
        return _kind(self.header)

    def of(self, stage: str) -> dict[Key, list[Row]]:
        """The finished units of one stage, in their order."""
        mine = [key for key in self.units if key[:1] == (stage,)]
        return {key: self.units[key] for key in sorted(mine, key=_place)}

    def write(self, path: Path) -> None:
        """All at once, each stage in the order of its units."""
        lines: list[dict[str, Any]] = [self.header]
        for stage in dict.fromkeys([*(key[0] for key in self.units), *self.ends]):
            lines += [_unit(key, rows) for key, rows in self.of(str(stage)).items()]
            lines += [_end(stage, self.ends[stage])] if stage in self.ends else []
        write_whole(path, "".join(json.dumps(line) + "\n" for line in lines))


@dataclass(frozen=True)
class Ledger:
    """Units of a job in a file. path: None keeps nothing. header: what is measured."""

    path: Path | None
    header: dict[str, Any]

    @property
    def kind(self) -> str:
        """Which of `KINDS`; empty for others."""
        return _kind(self.header)

    def read(self) -> Contents:
        """What is there so far, after making the file ready to be continued.

        Raises `SteerError` if the file holds another job, or is no ledger.
        """
        if self.path is None:
            return Contents(self.header, {}, {})
        writable_folder(self.path.parent)
        writable_file(self.path)
        if not self.path.exists():
            write_whole(self.path, json.dumps(self.header) + "\n")
            return Contents(self.header, {}, {})
        there = read_ledger(self.path)
        wanted = KINDS.get(self.kind, _OTHER)
        if there.kind != self.kind:
            raise SteerError(
                f"{self.path} holds {_held(there)}, and what is asked for is {wanted}; {_GIVE}"
            )
        if differing := difference(there.header, self.header):
            another = f"another {wanted.split(maxsplit=1)[1]}"
            raise SteerError(f"{self.path} holds {another} (differs in {differing}); {_GIVE}")
        os.truncate(self.path, self.path.read_bytes().rindex(b"\n") + 1)  # no half line
        return there

    def append(self, key: Key, rows: Sequence[Row]) -> None:
        """Write a finished unit. Raises `SteerError` if the disk is full."""
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_unit(key, rows)) + "\n")
        except OSError as error:
            raise SteerError(
                f"{self.path} can't be written: {(error.strerror or str(error)).lower()}; what was "
                "finished is in it: make room, and the same command goes on from there"
            ) from error

    def end(self, stage: str, units: int) -> None:
        """Write that a stage is finished, and put its units in order: both at once, or neither."""
        if self.path is not None:
            there = read_ledger(self.path)
            replace(there, ends={**there.ends, stage: units}).write(self.path)


def read_ledger(path: Path) -> Contents:
    """What a file holds, whatever it measures.

    Raises `SteerError` if it is no ledger.
    """
    try:
        complete = path.read_text("utf-8").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise SteerError(f"{path} {_NO_ROWS}: it is no text; {_GIVE}") from error
    lines = [_parse(path, line) for line in complete]
    if not lines or "unit" in lines[0] or "rows" in lines[0]:
        raise SteerError(f"{path} {_NO_ROWS}: its first line does not say what of; {_GIVE}")
    units: dict[Key, list[Row]] = {}
    ends: dict[str, int] = {}
    for line in lines[1:]:
        if "rows" in line:  # reproduce's files of before had no units
            units.setdefault(tuple(line.get("unit", ())), []).extend(line["rows"])
        elif "end" in line:
            ends[line["end"]] = line["units"]
    return Contents(lines[0], units, ends)


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The names in which two headers differ, for a message; empty if they are equal."""
    as_read = json.loads(json.dumps(other))
    names = dict.fromkeys([*as_read, *one])
    return ", ".join(name for name in names if one.get(name) != as_read.get(name))


def _parse(path: Path, line: str) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except json.JSONDecodeError as error:
        raise SteerError(f"{path} {_NO_ROWS}: {line[:40]!r} is no JSON; {_GIVE}") from error
    if not isinstance(parsed, dict):
        raise SteerError(f"{path} {_NO_ROWS}: {line[:40]!r} is no object; {_GIVE}")
    return parsed


def _kind(header: Mapping[str, Any]) -> str:
    return next((name for name in KINDS if isinstance(header.get(name), int)), "")


def _held(there: Contents) -> str:
    """What a file is, for a message; of one that is no job's, the first names in it."""
    if there.kind:
        return KINDS[there.kind]
    names = [*map(repr, there.header)]
    return f"JSON of {', '.join(names[:_NAMED])}{' …' if len(names) > _NAMED else ''}"


def _unit(key: Key, rows: Sequence[Row]) -> dict[str, Any]:
    return {"unit": list(key), "rows": list(rows)}


def _end(stage: str | int, units: int) -> dict[str, Any]:
    return {"end": stage, "units": units}


def _place(key: Key) -> tuple[tuple[str, int], ...]:
    """Numbers by size, and texts by letters, whichever a key is made of."""
    return tuple(("", part) if isinstance(part, int) else (part, 0) for part in key)

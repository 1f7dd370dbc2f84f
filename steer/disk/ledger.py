"""A file that a long sweep is written to as it goes, and resumed from.

One JSON document a line: the first says what is being measured, each other line holds a finished
batch. A line cut short by a crash is dropped when the file is read again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dictionaries.files.place import writable_file, writable_folder
from steer.errors import SteerError


@dataclass(frozen=True)
class Ledger:
    """Rows of a sweep in a file. path: None keeps nothing."""

    path: Path | None
    header: dict[str, Any]

    def read(self) -> list[dict[str, Any]]:
        """The rows so far, after making the file ready to be continued.

        Raises `SteerError` if the file holds another sweep, or is no ledger.
        """
        if self.path is None:
            return []
        writable_folder(self.path.parent)
        writable_file(self.path)
        if not self.path.exists():
            self.path.write_text(json.dumps(self.header) + "\n")
            return []
        try:
            complete = self.path.read_text("utf-8").split("\n")[:-1]
        except UnicodeDecodeError as error:
            raise SteerError(f"{self.path} is no sweep file: {error}") from error
        lines = [_parse(self.path, line) for line in complete]
        if not lines or lines[0] != json.loads(json.dumps(self.header)):
            raise SteerError(
                f"{self.path} holds another sweep ({_difference(lines, self.header)}); "
                "give another file"
            )
        self.path.write_text("".join(line + "\n" for line in complete))
        return [row for line in lines[1:] for row in line["rows"]]

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write a finished batch."""
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps({"rows": list(rows)}) + "\n")


def _parse(path: Path, line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise SteerError(f"{path} is no sweep file: {error}") from error


def _difference(lines: list[dict[str, Any]], header: dict[str, Any]) -> str:
    found = lines[0] if lines else {}
    differing = [key for key in header if found.get(key) != header[key]]
    return f"differs in {', '.join(differing)}" if found else "it has no header"

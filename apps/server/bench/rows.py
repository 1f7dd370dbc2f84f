"""Rows of a measurement as JSON lines, written as they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read(file: Path) -> list[Row]:
    """Those that are there."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def add(file: Path, row: Row) -> None:
    """One more."""
    with file.open("a", encoding="utf-8") as rows:
        rows.write(json.dumps(row) + "\n")

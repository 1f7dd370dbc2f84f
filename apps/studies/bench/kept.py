"""Runs of `steer bench` in a file, a line a run, and the table with a column for each machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apps.studies.machine import said
from dictionaries.files.place import writable_file
from steer.errors import SteerError

Run = dict[str, Any]
"""What `steer bench --json` prints."""


def ready(path: Path) -> list[Run]:
    """The runs in a file that one more is to be added to; none if there is no file yet.

    Raises `SteerError` if it can't be written, or holds something else.
    """
    return runs(path) if writable_file(path).exists() else []


def runs(path: Path) -> list[Run]:
    """The runs in a file. Raises `SteerError` if there is none, or it holds something else."""
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise SteerError(f"{path} holds no runs of `steer bench --out`: {error}") from error
    if not all(isinstance(line, dict) and {"machine", "figures"} <= set(line) for line in lines):
        raise SteerError(
            f"{path} holds no runs of `steer bench --out`: each line has to be what `steer bench "
            "--json` prints, with machine and figures"
        )
    return lines


def add(path: Path, run: Run) -> None:
    """One more line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")


def columns(measured: Sequence[Run]) -> list[dict[str, Any]]:
    """A row a figure: its bound, and of each run, by its number from 1, the ratio and its ends."""
    names = dict.fromkeys(name for run in measured for name in run["figures"])
    return [_row(name, [run["figures"].get(name) for run in measured]) for name in names]


def machines(measured: Sequence[Run]) -> list[str]:
    """A line a run: which machine its column is of."""
    return [f"{number}: {said(run['machine'])}" for number, run in enumerate(measured, 1)]


def _row(name: str, figures: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    row = {"figure": name, "bound": next(figure["bound"] for figure in figures if figure)}
    for number, figure in enumerate(figures, 1):
        ends = (min(figure["runs"]), max(figure["runs"])) if figure else (None, None)
        row[f"{number}"] = figure["ratio"] if figure else None
        row[f"{number}_low"], row[f"{number}_high"] = ends
    return row

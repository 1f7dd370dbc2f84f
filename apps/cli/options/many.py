"""Many edits at once, each for itself: a folder of them, or a line each in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from apps.cli.options.edits import Edits

if TYPE_CHECKING:
    from steer.edits import Intervention


def many_edits(place: Path, common: Edits, dictionary: str) -> dict[str, Intervention]:
    """By the names of files in a folder, or by what each line of a file says, such as `1176=2x`.

    common: the options that all lines share; a folder's files say all themselves.
    Raises `InterventionError` for malformed lines or files, and `SteerError` for none, a line that
    is there twice, and an edit beside them.
    """
    from apps.text_files import read_lines
    from steer.errors import SteerError

    if common.given:
        raise SteerError(f"--edits {place} has the edits: leave out those beside it")
    if place.is_dir():
        files = sorted(place.glob("*.json"))
        if not files:
            raise SteerError(f"{place} has no edits: no file of it ends in .json")
        return {f.stem: replace(common, edit=[f]).intervention(dictionary) for f in files}
    lines = read_lines(place)
    if twice := {line for line in lines if lines.count(line) > 1}:
        raise SteerError(f"{place} has {', '.join(sorted(twice))} twice: give each edit once")
    return {
        line: replace(common, clamp=[line], typed=()).intervention(dictionary) for line in lines
    }

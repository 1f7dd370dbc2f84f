"""Interventions as evaluations name them: files, or values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from steer.edits import Intervention, as_tuple
from steer.errors import InterventionError

Interventions = str | Path | Intervention | Sequence[str | Path | Intervention]
"""One or several that act together; in a string, files are joined by `:` as in PATH."""


def read_interventions(given: Interventions | None) -> tuple[Intervention, ...]:
    """Interventions from files, joined by `:` if there are several, or as they are.

    Raises `InterventionError` for a file that is not there or holds anything else.
    """
    if not given:
        return ()
    if isinstance(given, str):
        given = [Path(part) for part in given.split(os.pathsep)]
    several = [given] if isinstance(given, Path | Intervention) else given
    return as_tuple([_read(one) if isinstance(one, str | Path) else one for one in several])


def _read(file: str | Path) -> Intervention:
    if not Path(file).is_file():
        raise InterventionError(f"there is no file {file}")
    return Intervention.load(file)

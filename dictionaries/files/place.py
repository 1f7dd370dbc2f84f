"""Where what is known of a dictionary lies, and whether a file is still what it was."""

from __future__ import annotations

import hashlib
from pathlib import Path


def beside(place: str | Path, file: str) -> Path:
    """`folder/file` for a dictionary in a folder, `weights.pt.file` for one in `weights.pt`."""
    place = Path(place)
    return place.with_name(f"{place.name}.{file}") if place.is_file() else place / file


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Where what is known of a dictionary lies: in its folder, or next to it if it is one file."""

from __future__ import annotations

from pathlib import Path


def beside(place: str | Path, file: str) -> Path:
    """`folder/file` for a dictionary in a folder, `weights.pt.file` for one in `weights.pt`."""
    place = Path(place)
    return place.with_name(f"{place.name}.{file}") if place.is_file() else place / file

"""Where what is known of a dictionary and what is downloaded lie; is a file what it was?"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from dictionaries.errors import SteerError


def beside(place: str | Path, file: str) -> Path:
    """`folder/file` for a dictionary in a folder, `weights.pt.file` for one in `weights.pt`."""
    place = Path(place)
    return place.with_name(f"{place.name}.{file}") if place.is_file() else place / file


def cache_folder() -> Path:
    """`STEER_CACHE` if set, else the platform's cache folder for this user."""
    if configured := os.environ.get("STEER_CACHE"):
        return Path(configured).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("steer", appauthor=False))


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def writable_file(path: Path) -> Path:
    """The path, if a file can be written there: found out before what it is for is computed.

    Raises `SteerError` that names what stands in the way.
    """
    if path.is_dir():
        raise SteerError(f"{path} can't be written: it is a folder; give a file")
    if not path.parent.is_dir():
        raise SteerError(
            f"{path} can't be written: there is no folder {path.parent}; make it first"
        )
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        raise SteerError(f"{path} can't be written: {target} is read-only; give another file")
    return path


def writable_folder(path: Path) -> Path:
    """The path, made with its parents if it is not there. Raises `SteerError` as above."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if path.is_file() else (error.strerror or str(error)).lower()
        raise SteerError(f"{path} can't be written: {reason}; give another folder") from error
    if not os.access(path, os.W_OK):
        raise SteerError(f"{path} can't be written: it is read-only; give another folder")
    return path

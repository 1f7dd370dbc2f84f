"""Files that are written whole or not at all: what stood there before stays until the new is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dictionaries.errors import SteerError

_FULL = 64 * 1024
"""Bytes: a disk with less than this left is why something could not be written."""


@contextmanager
def in_one_move(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written, which takes its place at the end, with the rights of what
    stood there. What is no ordinary file, such as a pipe, is written to as it is.

    Raises `SteerError` for a full disk.
    """
    if path.exists() and (not path.is_file() or path.is_relative_to("/dev")):
        yield path
        return
    final = path.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{final.name[:40]}-", dir=final.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        scratch.chmod(_rights(final))
        os.replace(scratch, final)
    except Exception as error:  # torch and safetensors have their own for what the disk says
        if not isinstance(error, SteerError) and is_full(final.parent):
            reassurance = "; what stood there before is as it was" if final.exists() else ""
            raise SteerError(
                f"{path} can't be written: no space is left on its disk{reassurance}; make "
                "room, or give another place"
            ) from error
        raise
    finally:
        scratch.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """The text as UTF-8, in one move. Raises `SteerError` for a full disk."""
    with in_one_move(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def is_full(folder: Path) -> bool:
    """Whether its disk has no space left."""
    return shutil.disk_usage(folder).free < _FULL


def _rights(path: Path) -> int:
    """Of the file that is there, or of a new one."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask

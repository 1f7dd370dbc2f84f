"""Where downloads and conversions are kept, and how a folder appears there all at once."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dictionaries.files.place import cache_folder as cache_folder
from dictionaries.files.place import sha256, writable_folder
from steer.errors import FetchError, SteerError


def cache_part(*names: str) -> Path:
    """A folder of the cache, made if need be.

    Raises `FetchError` where the cache is no folder, or can't be written.
    """
    try:
        return writable_folder(cache_folder().joinpath(*names))
    except SteerError as error:
        raise FetchError(
            f"the cache {cache_folder()} can't be used: {error}, with STEER_CACHE"
        ) from error


@contextmanager
def atomic_folder(final: Path, needed_bytes: int) -> Iterator[Path]:
    """A scratch folder that becomes `final` in one rename, or disappears.

    Raises `FetchError` when the disk has less than `needed_bytes` free, or fills up meanwhile.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(final.parent).free
    if free < needed_bytes:
        raise FetchError(
            f"no disk space: {final.parent} has {free // 2**20} MiB free and {final.name} needs "
            f"{needed_bytes // 2**20} MiB; free some, or set STEER_CACHE to another disk"
        )
    scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        yield scratch
        os.replace(scratch, final)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise FetchError(
                f"no disk space left in {final.parent} while writing {final.name}; "
                "free some, or set STEER_CACHE to another disk"
            ) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_sha256(path: Path, expected: str, name: str | None = None) -> None:
    """Raise `FetchError` if the file's content is not the pinned one. name: in the message."""
    if (actual := sha256(path)) != expected:
        raise FetchError(
            f"wrong checksum for {name or path.name}: sha256 {actual}, expected {expected}; "
            "the download is damaged or the file was replaced"
        )

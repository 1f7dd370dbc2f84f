"""Where downloads and conversions are kept, and how a folder appears there all at once."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from steer.errors import FetchError

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, units done, units in all)."""


def cache_folder() -> Path:
    """`STEER_CACHE` if set, else the platform's cache folder for this user."""
    if configured := os.environ.get("STEER_CACHE"):
        return Path(configured).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("steer", appauthor=False))


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


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Raise `FetchError` if the file's content is not the pinned one."""
    if (found := sha256(path)) != expected:
        raise FetchError(
            f"wrong checksum for {path.name}: sha256 {found}, expected {expected}; "
            "the download is damaged or the file was replaced"
        )

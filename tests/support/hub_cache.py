"""A cache of the hub on disk, laid out as huggingface_hub lays it out."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

COMMIT, OLDER = "a" * 40, "b" * 40


def add(
    cache: Path,
    repo: str,
    files: Path,
    folder: str = "",
    *,
    commit: str = COMMIT,
    ref: str = "main",
) -> Path:
    """Put the files of a folder into the repository's `folder`; returns that in the snapshot.

    models--org--name/refs/main holds the commit; snapshots/<commit>/... are symbolic links to
    blobs/<digest>.
    """
    root = cache / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / commit / folder
    for path in (root / "blobs", root / "refs", snapshot):
        path.mkdir(parents=True, exist_ok=True)
    (root / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
    (root / "refs" / ref).write_text(commit)
    for path in files.iterdir():
        blob = root / "blobs" / hashlib.sha256(f"{commit}{folder}{path.name}".encode()).hexdigest()
        path.replace(blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot

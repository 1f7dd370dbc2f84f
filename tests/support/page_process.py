"""The page on a tiny model in a process of its own: `python -m tests.support.page_process ''`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT


@dataclass(frozen=True)
class PageProcess:
    """Where it listens, its log, and the process."""

    address: str
    log: Path
    process: subprocess.Popen[str]


@contextmanager
def page_process(folder: Path, password: str = "") -> Iterator[PageProcess]:
    """folder: its temporary files and its log. It is told to end, and does, when this is left."""
    log = folder / "log.txt"
    (folder / "tmp").mkdir()
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.support.page_process", password],
            cwd=ROOT,
            env={**_environment(), "TMPDIR": str(folder / "tmp")},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("steer app: "))
        yield PageProcess(address.removeprefix("steer app: ").strip(), log, process)
    except StopIteration:
        raise RuntimeError(log.read_text()) from None
    finally:
        process.terminate()
        process.wait(timeout=60)


def _environment() -> dict[str, str]:
    import os

    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def main() -> None:
    from apps.playground import launch
    from tests.support import tiny

    launch(
        tiny.tiny_model("llama"),
        dictionaries=[tiny.dictionary()],
        port=0,
        password=sys.argv[1] or None,
    )


if __name__ == "__main__":
    main()

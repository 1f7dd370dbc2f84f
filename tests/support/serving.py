"""`steer serve` as a process of its own, as its users have it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support import ROOT

MODEL = "smollm2-135m"
NAME = "smollm2-135m/resid_post.20"
EDITS: dict[str, Any] = {
    "longer": [{"feature": 1176, "clamp": "2x max"}],
    "without": {"dictionary": NAME, "edits": [{"kind": "ablate", "feature": 1176}]},
    "early": {
        "dictionary": "smollm2-135m/resid_post.10",
        "edits": [{"kind": "scale", "feature": 657, "factor": 3}],
    },
}
"""Named edits, as files of `--edits`."""


@dataclass(frozen=True)
class Server:
    """url: without /v1. announced: what it said when it listened."""

    url: str
    announced: dict[str, Any]
    process: subprocess.Popen[str]

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=120, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=120, **options)

    def complete(self, **body: Any) -> dict[str, Any]:
        """A completion of the default model that is there. Raises for any other answer."""
        given = {"model": MODEL, "max_tokens": 8, "temperature": 0, **body}
        response = self.post("/v1/completions", given)
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found

    def end(self) -> int:
        """Tell it to end, and wait."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def write_edits(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, edit in EDITS.items():
        (folder / f"{name}.json").write_text(json.dumps(edit))
    return folder


@contextmanager
def serving(*arguments: object, **environment: str) -> Iterator[Server]:
    """`steer serve` on a free port, while the block lasts."""
    command = [sys.executable, "-P", "-c", "from apps.cli import main; main()", "serve"]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    process = subprocess.Popen(
        [*command, "--port", "0", "--json", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **own},
    )
    try:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        yield Server(announced["url"], announced, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()

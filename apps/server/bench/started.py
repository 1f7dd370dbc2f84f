"""A `steer serve` of the default model to measure, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

MODEL = "smollm2-135m"
NAME = "smollm2-135m/resid_post.20"
_MEGABYTE = 2**20


@dataclass(frozen=True)
class Target:
    """url: without /v1; pid: of the server's process."""

    url: str
    pid: int

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=600)

    def complete(self, **body: Any) -> dict[str, Any]:
        """A completion. Raises for any other answer."""
        with self.client() as client:
            response = client.post("/v1/completions", json={"model": MODEL, **body})
            response.raise_for_status()
            answer: dict[str, Any] = response.json()
            return answer

    def stream(self, **body: Any) -> Iterator[str]:
        """Texts of the chunks as they come; leave the loop to be gone."""
        given = {"model": MODEL, **body, "stream": True}
        with (
            self.client() as client,
            client.stream("POST", "/v1/completions", json=given) as response,
        ):
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    data = json.loads(line.removeprefix("data: "))
                    if "error" in data:
                        raise RuntimeError(data["error"])
                    yield from (choice["text"] for choice in data["choices"])

    @property
    def served(self) -> int:
        """Rows that wait or are served."""
        with self.client() as client:
            return int(client.get("/health").json()["served"])

    @property
    def megabytes(self) -> float:
        """Of memory that the process holds. Linux."""
        line = next(
            line
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )
        return int(line.split()[1]) * 1024 / _MEGABYTE


@contextmanager
def started(*arguments: str) -> Iterator[Target]:
    """While the block lasts."""
    command = [sys.executable, "-P", "-c", "from apps.cli import main; main()", "serve"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--json", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield Target(json.loads(process.stdout.readline())["url"], process.pid)
    finally:
        process.terminate()
        process.wait()

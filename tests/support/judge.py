"""Fragments about a planted word, a judge that reads them perfectly, and one behind HTTP."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from steer.interpretation.detectors import Activity
from steer.interpretation.judged import (
    Fragment,
    Judge,
    fragments,
)

TEXTS = [" the", " cat", " sat", " on", " mat", "\n"]
CAT = 1
LENGTH = 48


def tokens() -> torch.Tensor:
    found = torch.randint(2, len(TEXTS), (40, LENGTH), generator=torch.Generator().manual_seed(0))
    found[:20, 20] = CAT
    return found


def activity() -> Activity:
    t = tokens()
    position = (t == CAT).flatten().nonzero().flatten()
    heldout = torch.zeros(t.shape, dtype=torch.bool)
    heldout[::2] = True
    return Activity(
        feature=torch.zeros_like(position),
        position=position,
        value=1.0 + torch.arange(len(position)),
        features=2,
        fit=~heldout.flatten(),
        heldout=heldout.flatten(),
    )


def perfect(prompt: str) -> str:
    """Reads the prompt as a person would, and knows what « marks."""
    if "have in common" in prompt:
        return "the word " + re.findall(r"«\s*(\w+)»", prompt)[0]
    word = re.findall(r"described as: the word (\w+)", prompt)[0]
    lines = re.findall(r"(?m)^(\d+)\. (.*)$", prompt)
    if "In which of these" in prompt:
        return ", ".join(n for n, text in lines if word in text.split()) or "none"
    return "\n".join(f"{n}: {10 if word in text else 0}" for n, text in lines)


def drawn() -> tuple[list[Fragment], list[Fragment], list[Fragment]]:
    return fragments(activity(), tokens(), TEXTS, 0, count=5, seed=1)


@contextmanager
def serving(
    *answers: tuple[int, bytes] | None, judge: Judge = perfect
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server on 127.0.0.1: the given answers in turn, then (or for None) those of the judge."""
    waiting = list(answers)
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers.get("Authorization")
            seen.append({"path": self.path, "key": key, **body})
            status, reply = (waiting.pop(0) if waiting else None) or (200, answered(body, judge))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answered(body: dict[str, Any], judge: Judge) -> bytes:
    content = judge(body["messages"][-1]["content"])
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()

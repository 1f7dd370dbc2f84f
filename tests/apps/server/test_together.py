"""Many clients at once: each has what it has alone, and who leaves frees the row."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import steer
from tests.support.serving import MODEL, NAME, Server, serving

PROMPTS = ("The old bridge", "I went to the market and", "Her house is much", "On Tuesday")


def edits() -> list[list[steer.Intervention]]:
    """Sixteen of them, four none."""
    kinds: list[steer.Edit] = [
        steer.Clamp(1176, "2x max"),
        steer.Clamp(1176, "1x max", positions="generated"),
        steer.Ablate(1176),
        steer.Scale(2631, 3.0),
        steer.Add(657, 40.0, positions="last"),
        steer.Floor(1176, 30.0),
        steer.Cap(2631, 1.0),
        steer.Clamp(4973, "1x max", schedule=steer.First(4)),
        steer.Clamp(4973, "1x max", when=steer.parse_condition("not seen 1176")),
        steer.AddDirection(steer.Random(3), "0.2x norm"),
        steer.ProjectOut(steer.DecoderRow(NAME, 1176)),
    ]
    single = [[steer.Intervention(NAME, [kind])] for kind in kinds]
    early = steer.Intervention("smollm2-135m/resid_post.10", [steer.Clamp(657, "1x max")])
    return [*single, [early, *single[0]], [], [], [], []]


def bodies() -> list[dict[str, Any]]:
    return [
        {
            "model": MODEL,
            "prompt": PROMPTS[number % len(PROMPTS)],
            "max_tokens": 3 + number % 4,
            "temperature": 0 if number % 2 else 0.8,
            "seed": number,
            "steering": [intervention.to_dict() for intervention in interventions],
        }
        for number, interventions in enumerate(edits())
    ]


def test_sixteen_clients_with_sixteen_interventions_have_what_they_have_alone(
    server: Server,
) -> None:
    asked = bodies()
    alone = [server.post("/v1/completions", body).json() for body in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda body: server.post("/v1/completions", body).json(), asked))
    for one, other, interventions in zip(alone, together, edits(), strict=True):
        assert one["choices"] == other["choices"]
        assert other["steer"]["digests"] == [intervention.digest for intervention in interventions]
        (before,), (after,) = one["steer"]["rows"], other["steer"]["rows"]
        for mine, theirs in zip(before["edits"], after["edits"], strict=True):
            assert (mine["acted"], mine["of"]) == (theirs["acted"], theirs["of"])


def test_a_client_that_is_gone_frees_its_row(server: Server) -> None:
    body = {"model": MODEL, "prompt": PROMPTS[0], "max_tokens": 200, "stream": True}
    drawn = generated(server)
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as response:
        next(response.iter_lines())
    wait_for(lambda: server.get("/health").json()["served"] == 0)
    for gone in ({**body, "stream": False}, {**body, "prompt": [5] * 7_000}):  # text, and prefill
        with asking(server, "/v1/completions", gone):
            wait_for(lambda: server.get("/health").json()["served"] == 1)
        wait_for(lambda: server.get("/health").json()["served"] == 0)
    assert generated(server) - drawn < 300  # neither came to its 200 tokens


def test_a_client_that_is_gone_ends_its_search(server: Server) -> None:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    if not children.exists():
        pytest.skip("there is no /proc to see the search in")
    before = children.read_text()
    with asking(server, "/v1/concept", {"model": MODEL, "word": "ocean"}):
        wait_for(lambda: children.read_text() != before)
        busy = server.post("/v1/concept", {"model": MODEL, "word": "river"})
        assert busy.status_code == 429
    wait_for(lambda: children.read_text() == before)


def test_a_full_queue_says_when_to_come_back_and_who_is_served_at_the_end_is_served_to_the_end(
    model_folder: Callable[[], Path],
) -> None:
    with serving("--model", model_folder(), "--rows", 1, "--queue", 0) as small:
        body = {"model": small.announced["models"][0], "prompt": "w7 w31", "max_tokens": 50}
        body["temperature"] = 0
        refused = small.post("/v1/completions", {**body, "prompt": ["w7 w31"] * 2})
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert "ask again" in refused.json()["error"]["message"]
        whole = small.post("/v1/completions", body).json()
        got: list[httpx.Response] = []
        ask = threading.Thread(target=lambda: got.append(small.post("/v1/completions", body)))
        ask.start()
        wait_for(lambda: bool(got) or small.get("/health").json()["served"] > 0)
        code = small.end()
        ask.join()
        assert got[0].json()["choices"] == whole["choices"]
        assert code in (0, -15)


@contextmanager
def asking(server: Server, path: str, body: Any) -> Iterator[None]:
    """A request whose client is gone with the block."""
    host, port = server.url.removeprefix("http://").split(":")
    text = json.dumps(body)
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(text)}"
        connection.sendall(f"{head}\r\n\r\n{text}".encode())
        yield


def generated(server: Server) -> float:
    lines = server.get("/metrics").text.splitlines()
    name = "steer_generated_tokens_total "
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def wait_for(what: Callable[[], bool]) -> None:
    """Fails after a minute, which no machine needs."""
    for _ in range(600):
        if what():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")

"""Explaining and detecting with a judge: a perfect judge scores 1, one that guesses does not."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch

import steer
from apps.labels.endpoint import EndpointJudge, JudgeError, LocalJudge
from steer.errors import SteerError
from steer.interpretation.detectors import Activity
from steer.interpretation.judged import (
    Fragment,
    Judge,
    detect_with,
    explain,
    fragments,
    simulate,
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


def test_fragments_come_from_the_right_part() -> None:
    strongest, active, silent = drawn()
    assert all(fragment.active for fragment in (*strongest, *active))
    assert len(silent) == 5
    assert not any(fragment.active for fragment in silent)
    assert all(len(f.pieces) == len(f.strengths) == 24 for f in (*strongest, *active, *silent))
    # The rows that choose are odd, and the strongest comes first.
    peaks = [max(fragment.strengths) for fragment in strongest]
    assert peaks == sorted(peaks, reverse=True)
    assert all(peak % 2 == 0 for peak in peaks)
    assert all(max(fragment.strengths) % 2 == 1 for fragment in active)
    assert drawn() == (strongest, active, silent)


def test_marks() -> None:
    assert Fragment((" the", " cat", " sat"), (0.0, 2.0, 0.5)).marked() == "the« cat» sat"


def test_a_perfect_judge() -> None:
    strongest, active, silent = drawn()
    explanation = explain(perfect, strongest)
    assert explanation == "the word cat"
    found = detect_with(perfect, explanation, active, silent)
    assert (found.precision, found.recall, found.f1) == (1, 1, 1)
    assert found.fragments == 10
    assert simulate(perfect, explanation, [*active, *silent]) > 0.8


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("none", (0, 0, 0)),
        ("1,2,3,4,5,6,7,8,9,10,11,99", (0.5, 1, 2 / 3)),
    ],
)
def test_a_judge_that_does_not_read(reply: str, expected: tuple[float, ...]) -> None:
    _, active, silent = drawn()
    found = detect_with(lambda prompt: reply, "anything", active, silent)
    assert (found.precision, found.recall, found.f1) == pytest.approx(expected)


def test_the_order_shown_says_nothing() -> None:
    _, active, silent = drawn()
    seen: list[str] = []

    def judge(prompt: str) -> str:
        seen.append(prompt)
        return "1, 2, 3, 4, 5"

    assert detect_with(judge, "x", active, silent).precision < 1
    detect_with(judge, "x", active, silent)
    assert seen[0] == seen[1]


def test_a_constant_simulation_has_no_correlation() -> None:
    _, active, _ = drawn()
    assert math.isnan(simulate(lambda prompt: "1: 5", "x", active[:1])) is False
    everything = "\n".join(f"{n}: 5" for n in range(1, 25))
    assert math.isnan(simulate(lambda prompt: everything, "x", active))


def test_a_judge_that_says_nothing() -> None:
    strongest, active, _ = drawn()
    with pytest.raises(SteerError, match="no explanation"):
        explain(lambda prompt: " \n", strongest)
    with pytest.raises(SteerError, match="no activations"):
        simulate(lambda prompt: "I can't", "x", active)


def test_a_silent_feature() -> None:
    with pytest.raises(SteerError, match="feature 1 is silent"):
        fragments(activity(), tokens(), TEXTS, 1)


# -- over HTTP ---------------------------------------------------------------------------------


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


def test_an_endpoint_is_a_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEER_JUDGE_KEY", "sesame")
    strongest, active, silent = drawn()
    with serving() as (url, seen):
        judge = EndpointJudge(url, "stub")
        explanation = explain(judge, strongest)
        found = detect_with(judge, explanation, active, silent)
    assert (explanation, found.f1) == ("the word cat", 1)
    assert {(s["path"], s["model"], s["key"], s["temperature"]) for s in seen} == {
        ("/v1/chat/completions", "stub", "Bearer sesame", 0)
    }


def test_no_key_is_sent_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEER_JUDGE_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving() as (url, seen):
        explain(EndpointJudge(url + "/", "stub"), drawn()[0])
    assert [s["key"] for s in seen] == [None]


def test_a_busy_endpoint_is_asked_again() -> None:
    with serving((429, b"busy"), (503, b"later")) as (url, seen):
        assert explain(EndpointJudge(url, "stub", wait=0.01), drawn()[0]) == "the word cat"
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, b"bad key"), "answered 401: bad key"),
        ((200, b"<html>"), "did not answer as OpenAI's"),
        ((200, b'{"choices": []}'), "did not answer as OpenAI's"),
        ((200, b'{"choices": [{"message": {"content": null}}]}'), "answered without text"),
    ],
)
def test_a_refusal_is_one_line(answer: tuple[int, bytes], message: str) -> None:
    with serving(answer) as (url, _), pytest.raises(JudgeError, match=message):
        explain(EndpointJudge(url, "stub"), drawn()[0])


def test_an_endpoint_that_is_not_there() -> None:
    with serving() as (url, _):
        pass
    with pytest.raises(JudgeError, match="can't be reached"):
        EndpointJudge(url, "stub", attempts=1)("hello")
    with pytest.raises(JudgeError, match="an endpoint is a URL"):
        EndpointJudge("localhost:80", "stub")


def test_a_local_model_is_a_judge(llama: steer.Model) -> None:
    judge = LocalJudge(llama, max_new_tokens=5)
    reply = judge("w7 w31 w12")
    assert reply == judge("w7 w31 w12")
    assert 0 < len(reply.split()) <= 5

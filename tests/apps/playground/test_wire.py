"""A run's own way to the page: its frames, line by line, for those whom Gradio lets in."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from apps.playground.handlers import Handlers
from apps.playground.start import open_studio, serve
from apps.playground.state.setup import Row
from apps.playground.studio.studio import Studio
from apps.playground.wire import PATH
from steer import Clamp
from tests.apps.playground.test_state import form
from tests.support import tiny

ROWS = (Row("tiny", Clamp(5, "4x max")),)


@pytest.fixture(scope="module")
def studio() -> Studio:
    return open_studio(tiny.tiny_model("llama"), dictionaries=[tiny.dictionary()])


@pytest.fixture(scope="module")
def url(studio: Studio) -> Iterator[str]:
    app = serve(studio)
    yield app.local_url.rstrip("/") + PATH
    app.close()


def asked(most: int = 8, prompt: str = tiny.PROMPT) -> dict[str, Any]:
    edits = json.dumps([form(row) for row in ROWS])
    values = [edits, prompt, False, most, 0.7, 1.1, 0]
    return {"session": "me", "asked": 1, "values": values}


def lines(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_lines_of_a_run_that_python_gives_too(url: str, studio: Studio) -> None:
    frames = lines(httpx.post(url, json=asked(), timeout=60))
    assert [said for said, *_ in frames] == [""] * len(frames)
    counts = [re.findall(r"(\d+) of at most 8", texts) for _, texts, *_ in frames]
    assert counts == [["1"], *([str(step)] for step in range(1, 9)), []]
    setup = Handlers(studio).setup(*asked()["values"])
    assert [link for _, _, link, _ in frames] == [""] * 9 + [setup.to_fragment()]
    assert studio.run(setup).text.split()[-1] in frames[-1][1]


def test_frames_come_while_the_model_runs_and_who_leaves_frees_it(
    url: str, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.playground.steer.frames.PATIENCE", 0)
    with studio.model.lock:  # so that no token can come
        with httpx.stream("POST", url, json=asked(), timeout=60) as answer:
            coming = answer.iter_lines()  # kept: a dropped iterator closes the answer
            assert "reading the prompt" in next(coming)
            assert list(studio.jobs) == ["me"]
        until = time.monotonic() + 60
        while studio.jobs and time.monotonic() < until:
            time.sleep(0.01)
        assert not studio.jobs
        assert not studio.streams
    assert len(lines(httpx.post(url, json=asked(), timeout=60))) >= 10


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (asked(prompt=" "), "prompt is empty"),
        ({**asked(), "values": []}, "Something went wrong"),
        ({**asked(), "values": [*asked()["values"][:3], None, 0.7, 1.1, 0]}, "not a number"),
    ],
)
def test_a_mistake_is_a_sentence(url: str, wrong: dict[str, Any], says: str) -> None:
    ((said, texts, link, stale),) = lines(httpx.post(url, json=wrong, timeout=60))
    assert says in said
    assert (texts, link, stale) == (None, "", True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"session": "me"}'])
def test_what_is_no_click_is_refused(url: str, body: bytes) -> None:
    answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_another_sites_page_cannot_start_a_run(url: str) -> None:
    """Its browser sends plain text without asking first, which is no click; and JSON not at all."""
    plain = {"Content-Type": "text/plain", "Origin": "https://elsewhere.example"}
    assert httpx.post(url, content=json.dumps(asked()), headers=plain).status_code == 403
    own = {**plain, "Origin": url.removesuffix(PATH)}
    assert httpx.post(url, content=json.dumps(asked()), headers=own).status_code == 422
    ask = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    assert "access-control-allow-origin" not in httpx.options(url, headers=ask).headers


def test_a_password_is_asked_for_here_too() -> None:
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary()
    app = serve(open_studio(model, dictionaries=[dictionary]), password="right")
    try:
        with httpx.Client(base_url=app.local_url, timeout=60) as visitor:
            assert visitor.post(PATH, json=asked()).status_code == 401
            visitor.post("/login", data={"password": "wrong"})
            assert visitor.post(PATH, json=asked()).status_code == 401
            visitor.post("/login", data={"password": "right"})
            assert len(lines(visitor.post(PATH, json=asked()))) == 10
    finally:
        app.close()

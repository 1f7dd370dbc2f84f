"""What is malformed, unknown or contradictory has an answer 4xx with a sentence, and no text."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.apps.server.wrong import WRONG, Wrong
from tests.support.serving import Server


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_request_is_refused_with_a_sentence_and_no_text(
    wrong: Wrong, server: Server
) -> None:
    response = httpx.request(
        wrong.method, f"{server.url}{wrong.path}", content=wrong.content, timeout=60
    )
    assert 400 <= response.status_code < 500, response.text
    told = response.json()
    assert set(told) == {"error"}
    message = told["error"] if isinstance(told["error"], str) else told["error"]["message"]
    assert wrong.says in message
    assert len(message) < 3_000
    assert "x-steer" not in response.headers


def test_there_are_two_hundred_of_them_and_all_differ() -> None:
    assert len(WRONG) >= 200
    assert len({(wrong.path, wrong.content) for wrong in WRONG}) == len(WRONG)


def test_the_server_is_well_after_all_of_them(server: Server) -> None:
    answer: Any = server.complete(prompt="The old bridge")
    assert answer["choices"][0]["text"]
    assert json.loads(server.get("/health").text)["served"] == 0

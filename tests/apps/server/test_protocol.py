"""Clients that know nothing of steer, unchanged, against the real server process."""

from __future__ import annotations

import json
from typing import Any

import pytest

import steer
from tests.support.serving import EDITS, MODEL, NAME, Server

openai = pytest.importorskip("openai")

CLAMP = steer.Intervention(NAME, [steer.Clamp(1176, "2x max")])
PROMPT = "The old bridge"


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return steer.load(MODEL)


@pytest.fixture
def client(server: Server) -> Any:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_models_are_the_model_and_one_for_every_named_edit(client: Any, server: Server) -> None:
    listed = [each.id for each in client.models.list().data]
    assert listed == server.announced["models"]
    assert listed == [MODEL, *(f"{MODEL}@{name}" for name in sorted(EDITS))]
    assert client.models.retrieve(f"{MODEL}@longer").steer["digests"] == [CLAMP.digest]
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.models.retrieve("gpt-4")


def test_a_completion_is_what_the_library_gives_and_says_how_it_was_steered(
    client: Any, model: steer.Model
) -> None:
    run = model.generate(PROMPT, CLAMP, max_new_tokens=12, seed=5, temperature=0.7)
    raw = client.completions.with_raw_response.create(
        model=MODEL,
        prompt=PROMPT,
        max_tokens=12,
        seed=5,
        temperature=0.7,
        extra_body={"steering": CLAMP.to_dict()},
    )
    answer = raw.parse()
    assert answer.choices[0].text == run.text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 12
    (row,) = answer.steer["rows"]
    (entry,) = run.receipt
    assert row["digests"] == [CLAMP.digest]
    assert row["seed"] == 5
    assert (row["edits"][0]["acted"], row["edits"][0]["of"]) == (
        len(entry.acted_tokens),
        entry.touched,
    )
    assert row["edits"][0]["dose"] == pytest.approx(entry.relative_dose, rel=1e-4)
    assert answer.steer["fingerprint"] == model.fingerprint
    head = raw.headers["x-steer"]
    assert f"digest={CLAMP.digest}" in head
    assert f"acted={len(entry.acted_tokens)}/{entry.touched}; dose=" in head
    assert f"silent=no; dtype=float32; model={model.fingerprint}" in head
    plain = client.completions.create(
        model=MODEL, prompt=PROMPT, max_tokens=12, seed=5, temperature=0.7
    )
    assert plain.choices[0].text == run.baseline.text
    assert plain.steer["steered"] is False


def test_a_streamed_completion_is_the_same_and_proves_it_in_its_last_chunk(client: Any) -> None:
    options = {"model": f"{MODEL}@longer", "prompt": PROMPT, "max_tokens": 10, "seed": 1}
    whole = client.completions.create(**options)
    chunks = list(client.completions.create(**options, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"
    assert chunks[-1].steer == whole.steer
    assert all("steer" not in (chunk.model_extra or {}) for chunk in chunks[:-1])


def test_a_chat_streamed_and_not_with_log_probabilities(client: Any, model: steer.Model) -> None:
    messages: Any = [{"role": "user", "content": "Name a colour."}]
    options: Any = {
        "model": MODEL,
        "messages": messages,
        "max_tokens": 8,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
        "extra_body": {"vllm_xargs": {"steer": json.dumps(EDITS["longer"])}},
    }
    whole = client.chat.completions.create(**options)
    run = model.generate(messages, CLAMP, max_new_tokens=8, temperature=0)
    assert whole.choices[0].message.content == run.text
    content = whole.choices[0].logprobs.content
    assert all(each.logprob == each.top_logprobs[0].logprob for each in content)  # greedy
    usage = {"include_usage": True}
    chunks = list(client.chat.completions.create(**options, stream=True, stream_options=usage))
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == run.text
    assert chunks[-1].usage.completion_tokens == len(run.ids)
    assert chunks[-1].steer == whole.steer
    assert whole.steer["digests"] == [CLAMP.digest]


def test_choices_differ_and_each_can_be_had_again_by_its_seed(server: Server) -> None:
    several = server.complete(prompt=PROMPT, n=3, seed=7, temperature=1)
    texts = [choice["text"] for choice in several["choices"]]
    assert len(set(texts)) == 3
    seeds = [row["seed"] for row in several["steer"]["rows"]]
    again = server.complete(prompt=PROMPT, seed=seeds[2], temperature=1)
    assert again["choices"][0]["text"] == texts[2]


def test_an_echoed_prompt_is_scored_and_a_stop_ends_a_text(server: Server) -> None:
    told = server.complete(prompt=PROMPT, echo=True, logprobs=2, max_tokens=0)
    (choice,) = told["choices"]
    assert choice["text"] == PROMPT
    assert choice["logprobs"]["tokens"] == ["The", " old", " bridge"]
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert choice["logprobs"]["text_offset"] == [0, 3, 7]
    assert all(len(each) in (2, 3) for each in choice["logprobs"]["top_logprobs"][1:])
    whole = server.complete(prompt=PROMPT)["choices"][0]["text"]
    stop = whole.split()[3]
    cut = server.complete(prompt=PROMPT, stop=[stop])["choices"][0]
    assert cut["text"] == whole[: whole.index(stop)]
    assert cut["finish_reason"] == "stop"


def test_penalties_keep_a_text_from_repeating(server: Server) -> None:
    prompt = "one two one two one two one"
    plain = server.complete(prompt=prompt, max_tokens=20)["choices"][0]["text"].split()
    other = server.complete(prompt=prompt, max_tokens=20, presence_penalty=2, frequency_penalty=2)[
        "choices"
    ][0]["text"].split()
    assert len(set(other)) > len(set(plain))


def test_an_empty_list_is_unsteered_and_silence_is_told(server: Server) -> None:
    plain = server.complete(prompt=PROMPT)
    empty = server.complete(prompt=PROMPT, steering=[])
    assert empty["choices"] == plain["choices"]
    assert empty["steer"]["digests"] == []
    nothing = [{"feature": 5, "scale": 1}]
    told = server.complete(prompt=PROMPT, steering=nothing)
    assert told["choices"] == plain["choices"]
    assert "scale feature 5" in told["steer"]["silent"][0]
    body = {"model": MODEL, "prompt": PROMPT, "steering": nothing, "silent": "error"}
    for stream in (False, True):
        refused = server.post("/v1/completions", {**body, "stream": stream})
        assert refused.status_code == 422
        assert "did nothing" in refused.json()["error"]["message"]


def test_one_silent_row_of_several_refuses_all_of_them_streamed_or_not(server: Server) -> None:
    there = {"feature": 1176, "clamp": "2x max", "positions": {"tokens": [" bridge"]}}
    body = {"model": MODEL, "prompt": [PROMPT, "Her house"], "steering": [there], "max_tokens": 4}
    for stream in (False, True):
        told = server.post("/v1/completions", {**body, "stream": stream})
        assert told.status_code == 200
        refused = server.post("/v1/completions", {**body, "stream": stream, "silent": "error"})
        assert refused.status_code == 422
        assert "did nothing" in refused.json()["error"]["message"]


def test_the_header_stays_short_however_much_is_silent(server: Server) -> None:
    nothing = [{"feature": feature, "scale": 1} for feature in range(200)]
    body = {"model": MODEL, "prompt": PROMPT, "steering": nothing, "max_tokens": 1}
    told = server.post("/v1/completions", body)
    assert len(told.json()["steer"]["silent"]) == 200
    assert "200 edits, the first: scale feature 0" in told.headers["x-steer"]
    assert len(told.headers["x-steer"]) < 1_000


def test_streamed_log_probabilities_are_those_of_the_whole_answer(server: Server) -> None:
    options = {"prompt": PROMPT, "logprobs": 2, "temperature": 1.0, "seed": 3, "n": 2}
    whole = server.complete(**options)["choices"]
    given = {"model": MODEL, "max_tokens": 8, **options, "stream": True}
    lines = server.post("/v1/completions", given).text.splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    for choice in whole:
        parts = [
            part["logprobs"]
            for chunk in chunks
            for part in chunk["choices"]
            if part["index"] == choice["index"] and part["logprobs"]
        ]
        for name, values in choice["logprobs"].items():
            assert [each for part in parts for each in part[name]] == values
        told = choice["logprobs"]
        for token, logprob, likely in zip(
            told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True
        ):
            assert likely[token] == logprob  # also of one that is not among the two likeliest
            assert len(likely) in (2, 3)


def test_tokens_plans_features_and_counts(server: Server, model: steer.Model) -> None:
    ids = model.tokenizer(PROMPT)["input_ids"]
    told = server.post("/v1/tokenize", {"model": MODEL, "prompt": PROMPT}).json()
    assert told["tokens"] == ids
    assert server.post("/v1/detokenize", {"tokens": ids}).json()["prompt"] == PROMPT
    plan = server.post("/v1/explain", {"model": f"{MODEL}@longer"}).json()
    assert plan["plans"] == json.loads(json.dumps(model.explain(CLAMP).to_dict()))["plans"]
    card = server.post("/v1/features", {"model": MODEL, "feature": 1176}).json()
    assert card["feature"] == 1176
    answer = server.post("/v1/features", {"model": MODEL, "text": PROMPT, "top": 2}).json()
    assert [each["token"] for each in answer["tokens"]] == ["The", " old", " bridge"]
    counts = server.get("/metrics").text
    for name in ("requests_total", "generated_tokens_total", "queue_rows", "step_rows_count"):
        assert f"steer_{name}" in counts
    assert server.get("/health").json()["status"] == "ok"


def test_a_body_of_neuronpedia(server: Server, model: steer.Model) -> None:
    body = {
        "prompt": PROMPT,
        "model": MODEL,
        "steerMethod": "SIMPLE_ADDITIVE",
        "normalizeSteering": False,
        "types": ["STEERED", "DEFAULT"],
        "features": [{"model": MODEL, "source": NAME, "index": 1176, "strength": 40.0}],
        "nCompletionTokens": 8,
        "temperature": 0.5,
        "strengthMultiplier": 2.0,
        "freqPenalty": 0.0,
        "seed": 16.0,
    }
    direction = steer.DecoderRow(NAME, 1176)
    edit = steer.Intervention("resid_post.20", [steer.AddDirection(direction, "80x vector")])
    run = model.generate(PROMPT, edit, max_new_tokens=8, temperature=0.5, seed=16)
    answer = server.post("/v1/steer/completion", body)
    texts = {each["type"]: each["output"] for each in answer.json()["outputs"]}
    assert texts == {"STEERED": run.text, "DEFAULT": run.baseline.text}
    assert f"digest={edit.digest}" in answer.headers["x-steer"]
    lines = server.post("/v1/steer/completion", {**body, "stream": True}).text.split("\n\n")
    frames = [line.removeprefix("data: ") for line in lines if line]
    assert frames[-1] == "[DONE]"
    assert json.loads(frames[-2])["outputs"] == answer.json()["outputs"]
    chat = {**body, "prompt": [{"role": "user", "content": "Hello"}], "steerSpecialTokens": False}
    told = server.post("/v1/steer/completion-chat", chat).json()
    assert told["outputs"][0]["chatTemplate"][-1]["role"] == "assistant"
    assert told["outputs"][0]["raw"].startswith(told["input"]["raw"])
    cap = steer.Intervention("resid_post.20", [steer.CapProjection(direction, 80.0)])
    capped = server.post("/v1/steer/completion", {**body, "steerMethod": "PROJECTION_CAP"})
    assert capped.json()["outputs"][0]["output"] == (
        model.generate(PROMPT, cap, max_new_tokens=8, temperature=0.5, seed=16).text
    )
    assert f"digest={cap.digest}" in capped.headers["x-steer"]
    refused = server.post("/v1/steer/completion", {**body, "steerMethod": "ORTHOGONAL_DECOMP"})
    assert refused.status_code == 400
    assert "no edit does" in refused.json()["error"]

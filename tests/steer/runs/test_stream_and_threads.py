"""Streaming, cancelling, chats, watched tokens, and many callers of one model."""

from __future__ import annotations

import asyncio
import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from steer.edits import Clamp, Intervention
from steer.errors import InterventionError, PromptError, SteerError
from steer.runs.sampling import OnStep
from steer.runs.stream import Stream
from tests.support.tiny import PROMPT, PROMPTS, dictionary, tiny_model

EDIT = Intervention("tiny", [Clamp(5, 4.0)])


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return tiny_model("llama")


def test_a_stream_ends_with_the_text_of_generate(model: steer.Model) -> None:
    alone = model.generate(PROMPT, EDIT, max_new_tokens=6, dictionaries=[dictionary()])
    stream = model.stream(PROMPT, EDIT, max_new_tokens=6, dictionaries=[dictionary()])
    pieces = list(stream)
    assert [piece.step for piece in pieces] == [1, *range(1, len(pieces))]
    assert stream.result() == alone
    assert pieces[-1].edited == alone.text


def test_a_stream_begins_with_the_edited_text(model: steer.Model) -> None:
    first, second, *_ = model.stream(PROMPT, EDIT, max_new_tokens=6, dictionaries=[dictionary()])
    assert (first.baseline, first.edited) == ("", second.edited)
    assert first.edited
    assert second.baseline


def test_an_event_loop_reads_the_same_pieces(model: steer.Model) -> None:
    """And hears now and then that none came, while the model is another's."""
    options: dict[str, Any] = {"max_new_tokens": 6, "dictionaries": [dictionary()]}

    async def read() -> tuple[int, list[Any], steer.Run]:
        waits, pieces = 0, []
        model.lock.acquire()
        stream = model.stream(PROMPT, EDIT, **options)
        async for piece in stream.pieces(0.01):
            waits += piece is None
            pieces.append(piece)
            if waits == 2 and piece is None:
                model.lock.release()
        return waits, [piece for piece in pieces if piece], stream.result()

    waits, pieces, run = asyncio.run(read())
    assert waits >= 2
    assert pieces == list(model.stream(PROMPT, EDIT, **options))
    assert run == model.generate(PROMPT, EDIT, **options)


def test_leaving_the_loop_stops_the_run_at_its_next_token(model: steer.Model) -> None:
    finished = model.generate(PROMPT, EDIT, max_new_tokens=5, dictionaries=[dictionary()])
    third, left = threading.Event(), threading.Event()

    def start(on_step: OnStep, on_first: OnStep) -> steer.Run:
        def step(ids: torch.Tensor) -> bool | None:
            if ids.shape[1] - 6 == 3:  # the reader leaves while this token is computed
                third.set()
                left.wait(60)
            return on_step(ids)

        return model.generate(
            PROMPT, EDIT, max_new_tokens=50, dictionaries=[dictionary()], on_step=step
        )

    stream = Stream(start, lambda ids: str(len(ids)))
    for piece in stream:
        if piece.step == 2:
            assert third.wait(60)
            break
    left.set()
    assert len(stream.result().ids) == 3
    again = model.generate(PROMPT, EDIT, max_new_tokens=5, dictionaries=[dictionary()])
    assert again == finished


def test_a_stream_refuses_bad_input_at_once(model: steer.Model) -> None:
    with pytest.raises(PromptError):
        model.stream("", EDIT, dictionaries=[dictionary()])


def test_a_listener_that_raises_leaves_the_model_as_it_was(model: steer.Model) -> None:
    before = model.generate(PROMPT, EDIT, max_new_tokens=5, dictionaries=[dictionary()])

    def broken(ids: torch.Tensor) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.generate(PROMPT, EDIT, dictionaries=[dictionary()], on_step=broken)
    assert model.generate(PROMPT, EDIT, max_new_tokens=5, dictionaries=[dictionary()]) == before


def test_sixteen_threads_get_what_each_would_get_alone(model: steer.Model) -> None:
    given = dictionary()
    edits = [Intervention("tiny", [Clamp(1 + i, 1.0 + i)]) for i in range(16)]

    def run(edit: Intervention) -> steer.Run:
        return model.generate(PROMPT, edit, max_new_tokens=4, dictionaries=[given], seed=3)

    alone = [run(edit) for edit in edits]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(run, edits)) == alone


def test_rows_of_a_batch_are_bit_equal_to_runs_alone_at_the_site(model: steer.Model) -> None:
    given = dictionary()
    edits = [Intervention("tiny", [Clamp(1 + i, 1.0 + i)]) for i in range(4)]
    runs = model.generate_batch(PROMPTS[:1], edits, max_new_tokens=4, dictionaries=[given])
    for run, edit in zip(runs, edits, strict=True):
        alone = model.generate(PROMPTS[0], edit, max_new_tokens=4, dictionaries=[given])
        assert (run.ids, run.baseline, len(run.receipt)) == (alone.ids, alone.baseline, 1)
        wanted = [token.after for token in alone.receipt[0].tokens]
        assert [token.after for token in run.receipt[0].tokens] == wanted


def test_prompts_and_interventions_that_cannot_be_paired_are_refused(model: steer.Model) -> None:
    with pytest.raises(InterventionError, match="2 prompts and 3 interventions"):
        model.generate_batch(PROMPTS[:2], [EDIT] * 3, dictionaries=[dictionary()])


def test_watched_tokens_have_the_log_probabilities_of_their_steps(model: steer.Model) -> None:
    run = model.generate(
        PROMPT, EDIT, max_new_tokens=3, temperature=0, watch=["w9", 20], dictionaries=[dictionary()]
    )
    ids, mask = model.tokenize([PROMPT])
    clean = model.module(ids, attention_mask=mask).logits[0, -1].log_softmax(-1)
    assert [(logprob.token, logprob.id) for logprob in run.logprobs] == [("w9", 9), ("w20", 20)]
    assert run.logprobs[0].baseline[0] == pytest.approx(clean[9].item(), abs=1e-4)
    assert run.logprobs[1].baseline[0] == pytest.approx(clean[20].item(), abs=1e-4)
    assert run.logprobs[0].edited[0] != pytest.approx(clean[9].item(), abs=1e-4)


@pytest.mark.parametrize(
    "options", [{"num_beams": 2}, {"top_p": 0.0}, {"temperature": -1}, {"do_sample": True}]
)
def test_sampling_options_that_would_not_act_are_refused(
    model: steer.Model, options: dict[str, float]
) -> None:
    with pytest.raises(SteerError, match=next(iter(options))):
        model.generate(PROMPT, EDIT, dictionaries=[dictionary()], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "chat", [[], [{"role": "user"}], [{"role": "assistant", "content": "x"}], [3]]
)
def test_malformed_chats_are_refused(model: steer.Model, chat: list[object]) -> None:
    with pytest.raises(PromptError):
        model.generate(chat, EDIT, dictionaries=[dictionary()])  # type: ignore[arg-type]


TEMPLATE = (
    "{% for m in messages %}{{ {'system': 'w90', 'user': 'w91', 'assistant': 'w92'}[m['role']] }} "
    "{{ m['content'] }} {% endfor %}{% if add_generation_prompt %}w92{% endif %}"
)


def test_a_chat_with_a_system_prompt_is_streamed_as_its_rendered_text(model: steer.Model) -> None:
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = TEMPLATE
    chatting = replace(model, tokenizer=tokenizer)
    messages = [
        {"role": "system", "content": "w5 w6"},
        {"role": "user", "content": "w7 w31"},
        {"role": "assistant", "content": "w12"},
        {"role": "user", "content": "w40"},
    ]
    options: dict[str, Any] = {"max_new_tokens": 6, "dictionaries": [dictionary()], "seed": 2}
    stream = chatting.stream(messages, EDIT, **options)
    pieces = list(stream)
    rendered = "w90 w5 w6 w91 w7 w31 w92 w12 w91 w40 w92"
    assert stream.result() == model.generate(rendered, EDIT, **options)
    assert stream.result().prompt == rendered
    assert pieces[-1].edited == stream.result().text
    assert pieces[-1].baseline == stream.result().baseline.text


def test_several_texts_are_sent_to_generate_batch(model: steer.Model) -> None:
    with pytest.raises(PromptError, match="use generate_batch"):
        model.generate(["w3 w4", "w5"], EDIT, dictionaries=[dictionary()])  # type: ignore[list-item]


def test_a_chat_without_a_template_is_refused(model: steer.Model) -> None:
    with pytest.raises(PromptError, match="no chat template"):
        model.generate([{"role": "user", "content": "w3"}], EDIT, dictionaries=[dictionary()])

"""Rows of a running batch: each is what `Model.generate` gives for it alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import steer
from steer.errors import NonFiniteError, PromptError, SilentEditError
from steer.lm.prompts import Prompt, read_prompt
from steer.runs.sampling import Sampling
from steer.serving.ask import Answer, Ask, BusyError, ClosingError, GoneError, LateError, Piece
from steer.serving.engine import Engine, Limits, Step
from steer.splice.edited import edited_logits
from steer.splice.passes import teacher_forced
from tests.support import tiny
from tests.support.passes import SITE, intervention
from tests.support.random_edits import random_intervention
from tests.support.tiny import PROMPT, PROMPTS

SAE = tiny.dictionary(SITE)
EDITS = [
    (),
    (intervention(steer.Clamp(5, 9)),),
    (intervention(steer.Clamp(5, 4, positions="generated"), steer.Ablate(9)),),
    (intervention(steer.Add(7, 3, positions="last", schedule=steer.First(3))),),
    (intervention(steer.Clamp(6, 5, when=steer.parse_condition("seen 3"))),),
    (intervention(steer.Scale(5, 3), error="drop"),),
]
GREEDY = Sampling(temperature=0)


@contextmanager
def engine(model: steer.Model, **limits: Any) -> Iterator[Engine]:
    running = Engine(model, Limits(**limits), [SAE])
    try:
        yield running
    finally:
        running.close(30)


def ask(model: steer.Model, prompt: str, edits: Any = (), **options: Any) -> Ask:
    given = {"sampling": GREEDY, "max_tokens": 8, **options}
    return Ask(read_prompt(model, prompt), tuple(edits), **given)


def alone(model: steer.Model, each: Ask) -> steer.Run:
    options = {
        name: getattr(each.sampling, name)
        for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
    }
    edits = each.interventions or (intervention(steer.Scale(5, 1)),)
    return model.generate(
        each.prompt.text,
        edits,
        dictionaries=[SAE],
        max_new_tokens=each.max_tokens,
        if_silent="ignore",
        **options,
        **each.sampling.options,
    )


def same(answer: Answer, run: steer.Run, edited: bool) -> None:
    assert answer.ids == run.ids
    assert answer.text == run.text
    if not edited:
        assert len(answer.receipt) == 0
        return
    for mine, theirs in zip(answer.receipt, run.receipt, strict=True):
        assert mine.acted_tokens == theirs.acted_tokens
        assert (mine.reason, mine.touched, mine.massive) == (
            theirs.reason,
            theirs.touched,
            theirs.massive,
        )
        for name in ("before", "after", "reached", "relative_dose"):
            expected = getattr(theirs, name)
            assert getattr(mine, name) == (
                None if expected is None else pytest.approx(expected, rel=1e-3, abs=1e-4)
            )


@pytest.mark.parametrize("budget", [64, 4])
def test_every_row_is_what_it_is_alone(model: steer.Model, budget: int) -> None:
    asks = [
        ask(model, PROMPTS[number % 3], edits, max_tokens=4 + number)
        for number, edits in enumerate(EDITS)
    ]
    with engine(model, budget=budget, rows=4) as running:
        answers = [ticket.result() for ticket in running.submit(asks)]
    for each, answer in zip(asks, answers, strict=True):
        same(answer, alone(model, each), bool(each.interventions))


@pytest.mark.parametrize("seed", range(3))
def test_random_interventions_of_one_batch_are_each_what_they_are_alone(
    llama: steer.Model, seed: int
) -> None:
    rng = random.Random(seed)
    asks = [
        ask(
            llama,
            " ".join(f"w{rng.randrange(3, 40)}" for _ in range(rng.randint(1, 14))),
            (random_intervention(rng),),
            sampling=Sampling(rng.choice([0.0, 0.8]), seed=number),
            max_tokens=rng.randint(1, 12),
        )
        for number in range(8)
    ]
    with engine(llama, rows=rng.choice([2, 4, 8]), budget=rng.choice([3, 8, 64])) as running:
        answers = [ticket.result() for ticket in running.submit(asks)]
    for each, answer in zip(asks, answers, strict=True):
        same(answer, alone(llama, each), True)


SAMPLINGS = [
    Sampling(1.0, seed=3),
    Sampling(0.8, top_k=30, top_p=0.9, repetition_penalty=1.2, seed=1),
    Sampling(1.1, min_p=0.02, seed=2, options={"no_repeat_ngram_size": 1, "min_new_tokens": 7}),
]


def test_every_row_draws_by_its_own_rule_and_seed(model: steer.Model) -> None:
    asks = [
        ask(model, prompt, edits, sampling=sampling)
        for sampling in SAMPLINGS
        for prompt, edits in zip(PROMPTS, EDITS[:3], strict=True)
    ]
    with engine(model) as running:
        answers = [ticket.result() for ticket in running.submit(asks)]
    for each, answer in zip(asks, answers, strict=True):
        same(answer, alone(model, each), bool(each.interventions))


def test_rows_without_an_edit_are_to_the_bit_those_of_a_batch_that_has_none(
    llama: steer.Model,
) -> None:
    found = []
    for edits in ((), EDITS[1]):
        asks = [ask(llama, prompt, top=3) for prompt in PROMPTS]
        asks.insert(1, ask(llama, PROMPTS[2], edits, top=3))
        with engine(llama) as running:
            answers = [ticket.result() for ticket in running.submit(asks)]
        found.append([answer.scored for answer in answers])
    assert found[0][1] != found[1][1]
    assert [found[0][n] for n in (0, 2, 3)] == [found[1][n] for n in (0, 2, 3)]


def test_a_row_that_comes_later_joins_and_changes_no_other(llama: steer.Model) -> None:
    first, late = (
        ask(llama, PROMPTS[1], EDITS[1], max_tokens=20),
        ask(llama, PROMPTS[2], EDITS[2]),
    )
    begun = threading.Event()
    with engine(llama) as running:
        (one,) = running.submit([first], [lambda _: begun.set()])
        assert begun.wait(30)
        (other,) = running.submit([late])
        answers = [one.result(), other.result()]
    for each, answer in zip((first, late), answers, strict=True):
        same(answer, alone(llama, each), True)


def test_pieces_are_the_text_and_end_before_a_stop(llama: steer.Model) -> None:
    whole = alone(llama, ask(llama, PROMPT, max_tokens=10)).text
    stop = " ".join(whole.split()[4:6])
    pieces: list[Piece] = []
    with engine(llama) as running:
        asked = ask(llama, PROMPT, max_tokens=10, stop=(stop,), top=2)
        answer = running.submit([asked], [pieces.append])[0].result()
    assert "".join(piece.text for piece in pieces) == answer.text == whole[: whole.index(stop)]
    assert answer.finish == "stop"
    assert sum((piece.scored for piece in pieces), ()) == answer.scored
    assert sum((piece.ids for piece in pieces), ()) == answer.ids


def test_echoed_log_probabilities_are_those_of_one_pass(llama: steer.Model) -> None:
    with engine(llama, budget=4) as running:
        asked = ask(llama, PROMPTS[2], EDITS[1], max_tokens=1, top=2, echo=True)
        answer = running.submit([asked])[0].result()
    ids, mask = llama.tokenize([PROMPTS[2]])
    lowered = llama.plans(EDITS[1], [SAE])
    logits, _ = edited_logits(llama, ids, llama.span(ids, mask), lowered)
    expected = logits[0].log_softmax(-1)
    assert [each.id for each in answer.prompt_scored] == ids[0].tolist()
    assert answer.prompt_scored[0].logprob is None
    for place, each in enumerate(answer.prompt_scored[1:]):
        torch.testing.assert_close(
            torch.tensor(each.logprob), expected[place, each.id], atol=1e-5, rtol=1e-5
        )
        assert each.likely[0][0] == int(expected[place].argmax())


@pytest.mark.parametrize("length", [2, 3, 4, 5, 6, 40])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside one that is written"])
def test_a_scored_text_is_read_as_in_process_to_the_bit(
    llama: steer.Model, length: int, beside: bool
) -> None:
    ids, edits = list(range(10, 10 + length)), EDITS[1]
    begun = threading.Event()
    with engine(llama) as running:
        if beside:
            running.submit([ask(llama, PROMPT, max_tokens=50)], [lambda _: begun.set()])
            assert begun.wait(30)
        asked = Ask(Prompt("", tuple(ids)), edits, GREEDY, max_tokens=1, top=1, echo=True)
        answer = running.submit([asked])[0].result()
    read = torch.tensor([ids[:-1]])  # nothing is scored behind the last
    span = llama.span(read, torch.ones_like(read))
    logits, _ = teacher_forced(llama.nn, read, span, llama.plans(edits, [SAE]))
    expected = logits[0].log_softmax(-1).gather(1, torch.tensor(ids[1:]).unsqueeze(1)).squeeze(1)
    assert [each.logprob for each in answer.prompt_scored[1:]] == expected.tolist()


def test_a_bad_row_is_told_why_and_the_others_go_on(llama: steer.Model) -> None:
    asks = [
        ask(llama, PROMPT),
        ask(llama, PROMPT, [steer.Intervention("nowhere", [steer.Ablate(1)])]),
        ask(llama, PROMPT, [intervention(steer.Clamp(5, 1e38), steer.Clamp(6, 1e38))]),
        ask(llama, PROMPT, [intervention(steer.Scale(5, 1))], refuse_silent=True),
    ]
    with engine(llama) as running:
        fine, unknown, large, silent = running.submit(asks)
        same(fine.result(), alone(llama, asks[0]), False)
        with pytest.raises(steer.SteerError, match="nowhere"):
            unknown.result()
        with pytest.raises(NonFiniteError, match="give a smaller value"):
            large.result()
        with pytest.raises(SilentEditError, match="did nothing"):
            silent.result()


def test_where_an_edit_must_act_nothing_is_told_before_it_has(llama: steer.Model) -> None:
    late = intervention(steer.Clamp(5, 9, schedule=steer.After(3)))
    asked = ask(llama, PROMPT, [late], refuse_silent=True)
    pieces: list[Piece] = []
    with engine(llama) as running:
        answer = running.submit([asked], [pieces.append])[0].result()
    acted = len(answer.text.split()) - len(pieces) + 1
    assert acted > 2
    assert len(pieces[0].text.split()) == acted
    assert "".join(piece.text for piece in pieces) == answer.text


def test_who_cancels_frees_the_row_within_a_step(llama: steer.Model) -> None:
    steps: list[Step] = []
    begun = threading.Event()
    running = Engine(llama, Limits(), report=steps.append)
    (gone,) = running.submit([ask(llama, PROMPT, max_tokens=50)], [lambda _: begun.set()])
    assert begun.wait(30)
    gone.cancel()
    with pytest.raises(GoneError):
        gone.result()
    assert running.served == 0
    running.close()
    assert len(steps) < 50


def test_the_queue_is_bounded_and_so_is_the_time(llama: steer.Model) -> None:
    with engine(llama, rows=1, queue=1) as running:
        with pytest.raises(BusyError, match="3 more are too many"):
            running.submit([ask(llama, PROMPT)] * 3)
        assert [t.result().finish for t in running.submit([ask(llama, PROMPT)] * 2)]
    with engine(llama, seconds=0.0) as running, pytest.raises(LateError, match="0 seconds"):
        running.submit([ask(llama, PROMPT)])[0].result()


def test_what_is_too_long_is_refused_at_once(llama: steer.Model) -> None:
    with engine(llama) as running, pytest.raises(PromptError, match="more than the 64"):
        running.submit([ask(llama, PROMPT, max_tokens=60)])


def test_a_call_between_steps_is_answered_while_rows_are_decoded(llama: steer.Model) -> None:
    with engine(llama) as running:
        tickets = running.submit([ask(llama, PROMPT, max_tokens=20)])
        assert running.between(lambda: llama.explain(EDITS[1], dictionaries=[SAE])).result()
        same(tickets[0].result(), alone(llama, tickets[0].ask), False)


def test_calls_between_steps_are_bounded_as_rows_are(llama: steer.Model) -> None:
    go = threading.Event()
    with engine(llama, queue=1) as running:
        calls = [running.between(lambda: go.wait(30))]
        with pytest.raises(BusyError, match="ask again"):
            calls += [running.between(lambda: go.wait(30)) for _ in range(3)]
        go.set()
        assert all(call.result() for call in calls)


def test_a_fault_in_a_step_is_told_to_those_it_served_and_the_next_are_served(
    llama: steer.Model,
) -> None:
    steps: list[Step] = []

    def report(step: Step) -> None:
        steps.append(step)
        if len(steps) == 2:
            raise MemoryError("no room")

    running = Engine(llama, Limits(), report=report)
    try:
        tickets = running.submit([ask(llama, PROMPT), ask(llama, PROMPTS[1], EDITS[0])])
        for ticket in tickets:
            with pytest.raises(MemoryError, match="no room"):
                ticket.result()
        assert running.served == 0
        again = ask(llama, PROMPT)
        same(running.submit([again])[0].result(), alone(llama, again), False)
    finally:
        running.close(30)


@pytest.mark.parametrize("limits", [{"seconds": float("nan")}, {"rows": 0}, {"queue": -1}])
def test_limits_that_are_none_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(steer.SteerError, match="or more"):
        Limits(**limits)


def test_closing_finishes_what_is_served_and_takes_nothing_more(llama: steer.Model) -> None:
    running = Engine(llama, Limits())
    (ticket,) = running.submit([ask(llama, PROMPT, max_tokens=12)])
    running.close(30)
    assert len(ticket.result().ids) == 12
    with pytest.raises(ClosingError, match="closing"):
        running.submit([ask(llama, PROMPT)])

"""Laws of steering scores: the harmonic mean, the two halves, and what judges' scales mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import steer
from steer.errors import SilentEditError, SteerError
from steer.evals.steering import score as steering
from steer.evals.steering.answers import Answer, Question, answers, continuations
from steer.evals.steering.judges import (
    Fires,
    Fluency,
    Judges,
    Mentions,
    Relevance,
    Resembles,
    on_scale,
)
from steer.evals.steering.score import SteeringScore, halves, harmonic_mean, steering_score
from steer.runs.fluency import distinct_pairs, losses
from tests.support import tiny

ASKED = ("w7 w31 w12", "w55 w40 w9 w8", "w20 w3", "w71 w80 w14 w15", "w33 w34", "w60 w61 w62")
ratings = st.lists(st.floats(0, 2, allow_subnormal=False), min_size=1, max_size=4)


def answer(text: str, instruction: str = "w7", ids: Sequence[int] | None = None) -> Answer:
    found = [int(word[1:]) for word in text.split()] if ids is None else ids
    return Answer(instruction, text, (7, 31), tuple(found))


def words(texts: Sequence[str]) -> Tensor:
    """An embedding: which words a text has, as a unit vector."""
    found = torch.zeros(len(texts), tiny.VOCABULARY)
    for row, text in zip(found, texts, strict=True):
        for word in text.split():
            row[int(word.removeprefix("w")) if word[0] == "w" else 0] += 1
    return torch.nn.functional.normalize(found, dim=-1)


# -- the harmonic mean -------------------------------------------------------------------------


@given(ratings)
def test_harmonic_mean_by_its_definition(values: list[float]) -> None:
    got = harmonic_mean(torch.tensor(values, dtype=torch.float64)).item()
    if 0 in values:
        assert got == 0
    else:
        assert got == pytest.approx(len(values) / sum(1 / value for value in values))
        assert min(values) <= got * (1 + 1e-12)
        assert got <= sum(values) / len(values) * (1 + 1e-12)


def test_harmonic_mean_needs_ratings_on_the_scale() -> None:
    for bad in (-0.1, 2.1, float("nan")):
        with pytest.raises(SteerError, match="0 to 2"):
            harmonic_mean(torch.tensor([1.0, bad]))


# -- the two halves ----------------------------------------------------------------------------


def score_of(ratings: Tensor) -> SteeringScore:
    f, n = ratings.shape[:2]
    return SteeringScore(
        tuple(float(i + 1) for i in range(f)),
        tuple(f"w{i + 3}" for i in range(n)),
        ratings,
        torch.ones(n, ratings.shape[2], 3),
        (),
    )


@given(st.integers(4, 9), st.integers(0, 1000))
def test_the_factor_never_sees_the_reporting_half(n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ratings = 2 * torch.rand(5, n, 2, 3, generator=generator, dtype=torch.float64)
    changed = ratings.clone()
    select, report = halves(n)
    assert sorted(select + report) == list(range(n))
    changed[:, report] = 2 * torch.rand(changed[:, report].shape, generator=generator).double()
    before, after = score_of(ratings), score_of(changed)
    assert before.factor == after.factor
    expected = harmonic_mean(changed)[after.chosen, report].mean().item()
    assert after.score.mean == pytest.approx(expected)
    best = harmonic_mean(ratings)[:, select].mean((1, 2))
    assert best[before.chosen] == best.max()


def test_a_method_that_only_does_well_where_it_is_reported_is_not_rewarded() -> None:
    ratings = torch.ones(2, 6, 1, 3)
    ratings[1, halves(6)[1]] = 2
    ratings[1, halves(6)[0]] = 0.5
    assert score_of(ratings).score.mean == pytest.approx(1.0)


# -- the whole, on a tiny model ----------------------------------------------------------------


def judges(model: steer.Model) -> Judges:
    return Judges(Mentions.of_words(["w31"]), Mentions(r"w\d"), Fluency(model))


def test_ratings_are_those_of_the_answers_generated_alone(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    score = steering_score(
        llama,
        steering.clamp(sae, 5),
        judges(llama),
        instructions=ASKED,
        factors=(0.5, 3.0),
        seeds=(0, 4),
        max_new_tokens=6,
        batch=7,
        dictionaries=[sae],
    )
    assert score.ratings.shape == (2, len(ASKED), 2, 3)
    for place, factor in enumerate(score.factors):
        for number, instruction in enumerate(ASKED):
            for column, seed in enumerate((0, 4)):
                run = llama.generate(
                    instruction,
                    steer.Intervention("tiny", [steer.Clamp(5, f"{factor}x max", positions="1:")]),
                    max_new_tokens=6,
                    temperature=1.0,
                    seed=seed,
                    dictionaries=[sae],
                )
                got = score.answers[place][number][column]
                assert (got.instruction, got.ids) == (instruction, run.ids)
                mentions = min(2, run.text.split().count("w31"))
                assert score.ratings[place, number, column, 0] == mentions
    assert set(score.to_dict()) >= {"factor", "score", "unsteered", "factors", "answers"}
    assert len(score.to_frame()) == 6


def test_add_is_axbench_addition(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    (added,) = steering.add(sae, 5)(1.5)
    row = steer.AddDirection(steer.DecoderRow("tiny", 5), 1.5 * maximum(sae, 5), positions="1:")
    direct = steer.Intervention("tiny", [row])
    asked = [Question.ask(llama, text) for text in ASKED]
    options: dict[str, Any] = {"max_new_tokens": 5, "dictionaries": [sae]}
    one = answers(llama, asked, [(added,)] * len(asked), **options)
    other = answers(llama, asked, [(direct,)] * len(asked), **options)
    assert one == other


def maximum(sae: steer.Dictionary, feature: int) -> float:
    assert sae.statistics is not None
    return sae.statistics.maximum[feature].item()


def test_an_edit_that_does_nothing_is_an_error(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    silent = steer.Intervention("tiny", [steer.Clamp(5, 1.0, positions=[50])])
    asked = [Question.ask(llama, "w7 w8")]
    with pytest.raises(SilentEditError):
        answers(llama, asked, [(silent,)], max_new_tokens=3, dictionaries=[sae])


@pytest.mark.parametrize(
    "options",
    [
        {"instructions": ASKED[:3]},
        {"instructions": "w7 w8 w9 w10"},
        {"factors": ()},
        {"factors": (1.0, 1.0)},
        {"seeds": ()},
    ],
)
def test_what_is_refused(llama: steer.Model, options: dict[str, Any]) -> None:
    sae = tiny.dictionary()
    with pytest.raises(SteerError):
        steering_score(llama, steering.add(sae, 5), judges(llama), **options)


# -- judges ------------------------------------------------------------------------------------


def test_the_scale_is_linear_between_its_anchors() -> None:
    values = torch.tensor([-1.0, 1.0, 2.0, 3.0, 9.0])
    assert on_scale(values, 1, 3, "it").tolist() == [0, 0, 1, 2, 2]
    with pytest.raises(SteerError, match="it can't rate here"):
        on_scale(values, 3, 1, "it")


def test_mentions_counts_whole_words_whatever_their_case() -> None:
    rate = Mentions.of_words(["her", "c++"])([])
    texts = ["", "other", "Her", "her C++", "HER her her", "heritage, c++x"]
    assert rate([answer(t, ids=[5]) for t in texts]).tolist() == [0, 0, 1, 2, 2, 0]
    for bad in (["", " "], "word", []):
        with pytest.raises(SteerError, match="words"):
            Mentions.of_words(bad)
    with pytest.raises(SteerError, match="regular expression"):
        Mentions("(")


def test_relevance_is_2_for_its_own_and_0_for_anothers_answer() -> None:
    unsteered = [answer(f"w{i} w{i} w90", f"w{i}") for i in (10, 20, 30)]
    rate = Relevance(words)(unsteered)
    assert torch.allclose(rate(unsteered), torch.full((3,), 2.0).double(), atol=1e-5)
    swapped = [replace(a, instruction=b.instruction) for a, b in pairwise(unsteered)]
    assert torch.allclose(rate(swapped), torch.zeros(2).double(), atol=1e-5)
    same = [answer("w10", "w5"), answer("w20", "w5")]
    with pytest.raises(SteerError, match="two different"):
        Relevance(words)(same)


def test_resembles_ranks_by_how_like_the_examples() -> None:
    examples = ("w10 w11 w12", "w10 w11 w13", "w11 w12 w13")
    rate = Resembles(examples, words)([answer("w50 w51"), answer("w52 w10")])
    got = rate([answer("w60"), answer("w10 w60"), answer("w10 w11 w12")])
    assert 0 == got[0] < got[1] < got[2] == 2


def test_fluency_prefers_the_models_own_words_to_shuffled_and_repeated_ones(
    llama: steer.Model,
) -> None:
    asked = [Question.ask(llama, text) for text in ASKED]
    own = answers(llama, asked, [()] * len(asked), max_new_tokens=16)
    rate = Fluency(llama)(own)
    repeated = [replace(a, ids=a.ids[:1] * 16) for a in own]
    unlikely = [replace(a, ids=tuple(range(90, 74, -1))) for a in own]
    assert rate(own).mean() > 1.2
    assert rate(repeated).max() == 0
    assert rate(unlikely).mean() < rate(own).mean() / 2
    assert rate([replace(own[0], ids=own[0].ids[:1])]).item() == 0


def test_losses_are_of_the_answer_alone(llama: steer.Model) -> None:
    texts = [answer("w9 w10 w11"), replace(answer("w40 w41"), prompt_ids=(3, 4, 5, 6, 7))]
    got = losses(llama, continuations(texts))
    for value, text in zip(got.tolist(), texts, strict=True):
        ids = torch.tensor([text.prompt_ids + text.ids])
        with torch.no_grad():
            log_p = tiny.plain_model("llama")(ids).logits[0].double().log_softmax(-1)
        n = len(text.prompt_ids)
        own = [-log_p[n - 1 + i, token].item() for i, token in enumerate(text.ids)]
        assert value == pytest.approx(sum(own) / len(own), abs=1e-5)


def test_distinct_pairs() -> None:
    assert distinct_pairs([1]) == 0
    assert distinct_pairs([1, 2, 1, 2, 1]) == 0.5
    assert distinct_pairs([1, 2, 3]) == 1


def test_fires_reads_the_text_and_not_the_edit(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    text = answer(tiny.PROMPT)
    text = replace(text, prompt_ids=(3,))
    acts = llama.features("w3 " + tiny.PROMPT, sae).activations[1:]
    shares = (acts > 0).float().mean(0)
    feature = int(((shares > 0) & (shares < 0.4)).nonzero()[0])
    unsteered = [replace(text, ids=(50, 51)), replace(text, ids=(52, 53))]
    rate = Fires(llama, sae, feature)(unsteered)
    assert rate([text]).item() > 0
    silent = int((shares == 0).nonzero()[0])
    assert Fires(llama, sae, silent)(unsteered)([text]).item() == 0
    with pytest.raises(SteerError, match="statistics"):
        Fires(llama, replace(sae, statistics=None), feature)(unsteered)

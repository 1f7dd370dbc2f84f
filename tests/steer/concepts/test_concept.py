"""What `steer.concept` refuses, and what it says of what it measured."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from apps.studies.concept_words import DEVELOPMENT, HELD_OUT, INVENTED
from steer.concepts.answers import FITTING
from steer.concepts.answers import HELD_OUT as HELD_OUT_SEEDS
from steer.concepts.examples import check_texts, gather
from steer.concepts.result import Concept, Control, DoseTried, Pair, nothing
from steer.concepts.trials import REPORTING, Trial
from steer.concepts.verdict import verdict
from steer.errors import SteerError
from steer.maths.statistics import Interval
from tests.support import tiny

SENTENCES = [f"w{number} w9 w8" for number in range(20, 28)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"word": ""}, "a word or a short phrase"),
        ({"word": " - "}, "a word or a short phrase"),
        ({"word": "word " * 500}, "500 words"),
        ({"word": "x" * 81}, "81 letters"),
        ({"word": "w5", "budget": 0}, "budget=0 is not allowed"),
        ({"word": "w5", "budget": math.nan}, "budget=nan is not allowed"),
        ({"word": "w5", "examples": SENTENCES[:1]}, "has 1 different sentences and needs 4"),
        ({"word": "w5", "examples": SENTENCES[:1] * 9}, "has 1 different sentences and needs 4"),
        ({"word": "w5", "examples": [*SENTENCES, " "]}, "has an empty sentence"),
        ({"word": "w5", "examples": "one text"}, "is a list of sentences"),
        ({"word": "w5", "against": SENTENCES[:3]}, "against has 3 different sentences"),
        ({"word": "w5"}, "give the dictionary of LlamaForCausalLM"),
    ],
)
def test_too_little_is_refused_in_a_sentence(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SteerError, match=said) as refused:
        steer.concept(tiny.tiny_model("llama"), **arguments)
    assert "\n" not in str(refused.value)


def test_an_example_cannot_be_against_as_well(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    model = tiny.tiny_model("llama")
    with pytest.raises(SteerError, match="both as an example and against it"):
        gather(model, "w5", SENTENCES, SENTENCES[4:], 0, None)
    other = [f"w{number} w70" for number in range(20, 28)]
    given = gather(model, "w5", SENTENCES, other, 0, None)
    assert not given.made
    assert set(given.fit) | set(given.held_out) == set(SENTENCES)
    assert not set(given.fit) & set(given.held_out)
    assert given.neutral == tuple(other)


def test_the_model_s_own_answers_are_two_halves_and_the_same_again(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    model = tiny.tiny_model("llama")
    first = gather(model, "w5", None, None, 0, None)
    assert first == gather(model, "w5", None, None, 0, None)
    assert first.made
    assert not set(first.fit) & set(first.held_out)
    assert not set(FITTING) & set(HELD_OUT_SEEDS)
    assert gather(model, "w5", None, None, 1, None).fit != first.fit


def test_the_same_sentence_twice_counts_once() -> None:
    assert check_texts("examples", [*SENTENCES, SENTENCES[0] + " "]) == tuple(SENTENCES)


def trial(on: float, loss: float = 0.0) -> Trial:
    """Of which this share of texts is on topic at every prompt."""
    n = 4 * len(REPORTING)
    about = (torch.arange(n) // len(REPORTING)) < round(4 * on)
    ones = torch.ones(n, dtype=torch.float64)
    return Trial(("",) * n, ones, about, about, loss * ones, ones)


@pytest.mark.parametrize(
    ("on", "random", "loss", "expected"),
    [
        (0.75, 0.0, 0.9, "works"),
        (0.75, 0.0, 1.1, "weak"),
        (0.25, 0.0, 0.1, "weak"),
        (0.75, 0.75, 0.1, "none here"),
        (0.0, 0.0, 0.1, "none here"),
    ],
)
def test_verdicts(on: float, random: float, loss: float, expected: str) -> None:
    word, reason = verdict(trial(on, loss), trial(0.0), trial(random), budget=1.0)
    assert word == expected
    assert f"{on:.0%}" in reason


def test_text_that_repeats_itself_does_not_work() -> None:
    dull = replace(trial(0.75), variety=trial(0.0).variety * 0.5)
    word, reason = verdict(dull, trial(0.0), trial(0.0), budget=1.0)
    assert word == "weak"
    assert "50% of token pairs differ" in reason


def test_a_concept_comes_back_from_json_as_it_was() -> None:
    edit = steer.Intervention("d", [steer.Add(3, 1.5, positions="1:")])
    some = Interval(0.5, 0.25, 0.75, 8)
    for intervention, dose, measured in ((edit, 0.4, some), (None, math.nan, nothing())):
        concept = Concept(
            word="sea",
            verdict="works",
            reason="why",
            intervention=intervention,
            dictionary="d",
            method="single",
            features=(3,),
            weights=(1.5,),
            dose=dose,
            budget=1.0,
            tried=4,
            doses=(DoseTried(0.4, 0.5, 0.7, True),),
            on_topic=measured,
            on_topic_baseline=measured,
            loss_increase=measured,
            similar=measured,
            mentions=measured,
            controls=(Control("random", some, measured),),
            detector={"precision": 1.0},
            judge={"field": ["sea"]},
            examples={"made": True},
            texts=(Pair("The", 1, "a", "b", True),),
            model="m",
            dtype="float32",
            seed=0,
        )
        data = concept.to_dict()
        assert Concept.from_dict(data).to_dict() == data
        assert Concept.from_dict(data).intervention == intervention
        wanted = "verdict intervention features dose on_topic on_topic_baseline loss_increase"
        assert set(wanted.split()) | {"controls", "detector", "texts"} <= set(data)


def test_the_words_are_sixty_and_twenty_others() -> None:
    words = [w for half in (DEVELOPMENT, HELD_OUT) for part in half.values() for w in part]
    assert len(words) == len(set(words)) == 60
    assert sum(map(len, HELD_OUT.values())) == 40
    assert len(set(INVENTED) - set(words)) == 20

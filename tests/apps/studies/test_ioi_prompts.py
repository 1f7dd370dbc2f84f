"""Prompts of indirect objects: a seed gives what it always gave, and the pairs are pairs."""

from __future__ import annotations

from dataclasses import astuple

import pytest

import steer
from apps.studies import ioi_prompts
from apps.studies.ioi_prompts import Case, Pair, accuracy, cases, logit_differences, pairs
from steer.errors import PromptError
from tests.support import toy

# As the two generators that this one replaced gave them, to the letter.
CASES = {
    0: [
        ("When James and David went to the store, David gave a drink to", " James", " David"),
        (
            "Then James and Mary had a long talk, and after it Mary said goodbye to",
            *(" James", " Mary"),
        ),
        ("After Paul and David came home from work, David handed the keys to", " Paul", " David"),
        ("When David and Anna went to the store, Anna gave a drink to", " David", " Anna"),
    ],
    7: [
        ("When Sarah and John went to the store, John gave a drink to", " Sarah", " John"),
        (
            "Then James and Sarah had a long talk, and after it Sarah said goodbye to",
            *(" James", " Sarah"),
        ),
        ("After Mary and David came home from work, David handed the keys to", " Mary", " David"),
        ("When John and Tom went to the store, Tom gave a drink to", " John", " Tom"),
    ],
}
PAIRS = {
    0: [
        (
            *("After David and Sarah left the office, David handed a drink to", " Sarah", " David"),
            *("After David and James left the office, David handed a drink to", " James"),
        ),
        (
            *("After Sarah and Anna left the park, Sarah handed a ring to", " Anna", " Sarah"),
            *("After Sarah and John left the park, Sarah handed a ring to", " John"),
        ),
        (
            *("Then, Sarah and John went to the park, and Sarah gave a book to", " John", " Sarah"),
            *("Then, Sarah and Tom went to the park, and Sarah gave a book to", " Tom"),
        ),
        (
            *("Then, Paul and John went to the park, and Paul gave a drink to", " John", " Paul"),
            *("Then, Paul and Anna went to the park, and Paul gave a drink to", " Anna"),
        ),
    ],
    7: [
        (
            "When Mary and David were at the school, David decided to give a ring to",
            *(" Mary", " David"),
            "When Sarah and David were at the school, David decided to give a ring to",
            " Sarah",
        ),
        (
            *("Then, Mary and Sarah went to the park, and Sarah gave a bag to", " Mary", " Sarah"),
            *("Then, John and Sarah went to the park, and Sarah gave a bag to", " John"),
        ),
        (
            *("Then, Paul and Mary went to the store, and Mary gave a ring to", " Paul", " Mary"),
            *("Then, John and Mary went to the store, and Mary gave a ring to", " John"),
        ),
        (
            "Then, Mary and Paul went to the hospital, and Paul gave a ring to",
            *(" Mary", " Paul"),
            "Then, Sarah and Paul went to the hospital, and Paul gave a ring to",
            " Sarah",
        ),
    ],
}


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> steer.Model:
    """Eight of the names are single tokens of it."""
    return toy.settings(tmp_path_factory.mktemp("english")).load()


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_gives_what_it_always_gave(english: steer.Model, seed: int) -> None:
    assert [astuple(case) for case in cases(english, 4, seed)] == CASES[seed]
    assert [astuple(pair) for pair in pairs(english, 4, seed)] == PAIRS[seed]


def test_a_pair_differs_in_the_indirect_object_alone(english: steer.Model) -> None:
    for pair in pairs(english, 40):
        assert pair.other == pair.prompt.replace(pair.answer, pair.other_answer)
        assert len({pair.answer, pair.subject, pair.other_answer}) == 3
        ids, mask = english.tokenize([pair.prompt, pair.other])
        assert mask.all()
        assert (ids[0] != ids[1]).sum() == 1
        assert [case.answer for case in pair.cases] == [pair.answer, pair.other_answer]


def test_no_prompt_comes_twice(english: steer.Model) -> None:
    for made in (cases(english, 168), pairs(english, 168)):
        assert len({case.prompt for case in made}) == len(made) == 168


def test_more_prompts_than_there_are(english: steer.Model) -> None:
    with pytest.raises(PromptError, match=r"169 prompts were asked for, and only 168"):
        cases(english, 169)


def test_names_that_the_tokenizer_splits(
    english: steer.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ioi_prompts, "PAIR_NAMES", ("Mary", "John", "Zebulon"))
    with pytest.raises(PromptError, match="2 of 3 names as single tokens"):
        pairs(english, 1)


def test_differences_are_those_of_whole_passes(llama: steer.Model) -> None:
    given = [Case("w7 w31 w12 w55", "w5", "w6"), Case("w9 w3", "w8", "w6")]
    for case, gap in zip(given, logit_differences(llama, given, batch=2), strict=True):
        logits = llama.logits(*llama.tokenize([case.prompt]))[0, -1]
        expected = logits[int(case.answer[1:])] - logits[int(case.subject[1:])]
        assert gap == pytest.approx(expected.item(), abs=1e-5)


def test_accuracy_is_the_share_of_both_prompts(llama: steer.Model) -> None:
    given = [
        Pair("w7 w31 w12 w55", "w5", "w6", "w7 w32 w12 w55", "w8"),
        Pair("w9 w3 w12 w4", "w5", "w6", "w9 w40 w12 w4", "w8"),
    ]
    both = [case for pair in given for case in pair.cases]
    right = sum(gap > 0 for gap in logit_differences(llama, both, batch=1))
    assert accuracy(llama, given, batch=3) == right / 4

"""The judge passes a concept's texts, and few others."""

from __future__ import annotations

import random

import pytest

from steer.concepts.examples import Examples
from steer.concepts.judge import FALSE, Judge, field_words, judge
from steer.concepts.search import untold
from tests.steer.concepts.planted import embed

SEA = ("waves", "salt", "tide", "boat", "shore", "fish")
LAND = tuple(f"word{number}" for number in range(60))


def sentences(words: tuple[str, ...], n: int, seed: int) -> tuple[str, ...]:
    """Of four of the words and two of anybody's."""
    draw = random.Random(seed)
    return tuple(" ".join(draw.sample(words, 4) + draw.sample(LAND, 2)) for _ in range(n))


def examples(words: tuple[str, ...] = SEA) -> Examples:
    others = {f"other{n}": sentences(LAND, 8, 50 + n) for n in range(6)}
    fit, held_out = (sentences(words, 8, seed) for seed in (1, 2))
    return Examples(fit, held_out, sentences(LAND, 16, 3), others, made=True)


@pytest.fixture(scope="module")
def sea() -> Judge:
    return judge("sea", examples(), sentences(LAND, 20, 4), ["waves", "word1"], embed)


def test_its_texts_pass_and_others_do_not(sea: Judge) -> None:
    assert sea.sensitivity == sea.known == 1
    assert sea.similar(sentences(SEA, 40, 9)).double().mean() > 0.9
    assert sea.similar(sentences(LAND, 200, 10)).double().mean() < 0.1


def test_at_most_one_in_twenty_of_what_set_it_passes(sea: Judge) -> None:
    given = examples()
    away = [*given.neutral, *(text for texts in given.others.values() for text in texts)]
    for texts in (away, sentences(LAND, 20, 4)):
        assert sea.similar(texts).double().mean() <= FALSE


def test_words_that_share_nothing_are_not_known() -> None:
    given = examples(LAND)
    how = judge("florbic", given, sentences(LAND, 20, 4), [], embed)
    reason = untold(how, "florbic", given)
    assert reason is not None
    assert "are not told from other texts" in reason


def test_a_word_of_the_field_is_a_whole_word_or_its_inflection() -> None:
    field = field_words("boat", [], ["nothing of it"], embed)
    how = Judge(embed, embed(["boat"])[0], 0.5, 1.0, field, 1.0, 1.0)
    texts = ["two boats", "The BOAT", "a boatload of it", "about"]
    assert how.mentions(texts).tolist() == [True, True, False, False]


def test_usual_words_are_no_words_of_a_field() -> None:
    vocabulary = ["boat", "ferry"]

    def same(texts: object) -> object:
        return embed(["boat"] * len(texts))  # type: ignore[arg-type]

    background = ["we took the ferry home", "another day", "and another"]
    assert field_words("ship", vocabulary, background, same) == ("ship", "boat")  # type: ignore[arg-type]

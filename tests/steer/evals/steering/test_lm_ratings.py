"""Judges that ask a language model, against one that really reads what it is asked."""

from __future__ import annotations

import re

import pytest

from steer.errors import SteerError
from steer.evals.steering.answers import Answer
from steer.evals.steering.lm_judges import lm_judges


def answer(text: str, instruction: str = "Write of rivers.") -> Answer:
    return Answer(instruction, text, (1,), (2, 3))


def reader(prompt: str) -> str:
    """Rates by how often the word after the concept, or the instruction's last, is in the text."""
    text = prompt.split("Text: ")[1].split("\nSay why")[0]
    asked = re.search(r"Concept: (\w+)|Instruction: .*?(\w+)\.\n", prompt)
    wanted = next(filter(None, asked.groups())) if asked else " "
    return f"Not [[2]] at first. Rating: [[{min(2, text.count(wanted))}]]"


def test_each_question_is_about_its_own_matter() -> None:
    judges = lm_judges(reader, "bridge")
    texts = [
        answer("a bridge, a bridge"),
        answer("rivers"),
        answer("bridge over rivers and rivers"),
    ]
    assert judges.concept([])(texts).tolist() == [2, 0, 1]
    assert judges.instruction([])(texts).tolist() == [0, 1, 2]
    assert judges.fluency([])([answer("one"), answer("one two three")]).tolist() == [0, 2]


def test_braces_in_an_answer_are_text() -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "[[1]]"

    judges = lm_judges(ask, "{text} and {instruction}")
    judges.fluency([])([answer("{instruction} {0} {text}")])
    assert "Text: {instruction} {0} {text}\n" in asked[0]


@pytest.mark.parametrize("reply", ["", "2", "[[3]]", "Rating: [2]"])
def test_a_reply_without_a_rating_is_an_error(reply: str) -> None:
    rate = lm_judges(lambda _: reply, "bridge").concept([])
    with pytest.raises(SteerError, match="no rating"):
        rate([answer("a bridge")])

"""Other behaviours that an edit must not harm: fixed questions with a right and a wrong token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dictionaries.files.keys import refuse_unknown
from steer.errors import SteerError

Question = tuple[str, str, str]
"""A prompt, the token that is right there, and one that is wrong."""


@dataclass(frozen=True)
class Behaviour:
    """Something that the model can do. questions: each with its right and its wrong token."""

    name: str
    questions: tuple[Question, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "questions": [list(question) for question in self.questions]}

    @classmethod
    def from_dict(cls, data: Any) -> Behaviour:
        """Inverse of `to_dict`. Raises `SteerError` for anything else."""
        if not isinstance(data, dict) or {"name", "questions"} - set(data):
            raise SteerError(f"{data!r} is no behaviour: give its name and its questions")
        refuse_unknown(data, ("name", "questions"), "a behaviour", SteerError)
        return cls(str(data["name"]), tuple(_question(question) for question in data["questions"]))


def _question(data: Any) -> Question:
    if not isinstance(data, Sequence) or len(data) != 3 or not all(map(_is_text, data)):
        raise SteerError(f"{data!r} is no question: give a prompt, the right and the wrong token")
    return data[0], data[1], data[2]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_AGREEMENT = (
    ("The keys to the cabinet", " are", " is"),
    ("The book on the shelves", " is", " are"),
    ("The dogs near the house", " are", " is"),
    ("The picture of the flowers", " is", " are"),
    ("The teachers at the school", " are", " is"),
    ("The road between the hills", " is", " are"),
    ("The windows of the car", " are", " is"),
    ("The boy with the toys", " is", " are"),
)
_CAPITALS = (
    ("The capital of France is the city of", " Paris", " London"),
    ("The capital of England is the city of", " London", " Paris"),
    ("The capital of Italy is the city of", " Rome", " Berlin"),
    ("The capital of Germany is the city of", " Berlin", " Rome"),
    ("The capital of Japan is the city of", " Tokyo", " Moscow"),
    ("The capital of Russia is the city of", " Moscow", " Tokyo"),
    ("The capital of Spain is the city of", " Madrid", " Athens"),
    ("The capital of Greece is the city of", " Athens", " Madrid"),
)
_GENDER = (
    ("My sister was tired, so", " she", " he"),
    ("My brother was tired, so", " he", " she"),
    ("The king was ill because", " he", " she"),
    ("The queen was ill because", " she", " he"),
    ("Her father called when", " he", " she"),
    ("His mother called when", " she", " he"),
    ("My uncle stayed at home until", " he", " she"),
    ("My aunt stayed at home until", " she", " he"),
)
_ORDER = (
    ("one, two, three,", " four", " nine"),
    ("Monday, Tuesday, Wednesday,", " Thursday", " Sunday"),
    ("January, February, March,", " April", " October"),
    ("first, second, third,", " fourth", " last"),
    ("a, b, c,", " d", " z"),
    ("red, orange, yellow,", " green", " black"),
    ("six, seven, eight,", " nine", " two"),
    ("Thursday, Friday, Saturday,", " Sunday", " Monday"),
)
_REPETITION = (
    ("table river stone, table river", " stone", " cloud"),
    ("apple music paper, apple music", " paper", " stone"),
    ("green house seven, green house", " seven", " paper"),
    ("cloud horse window, cloud horse", " window", " seven"),
    ("bread light garden, bread light", " garden", " window"),
    ("water chair summer, water chair", " summer", " garden"),
    ("north glass money, north glass", " money", " summer"),
    ("voice metal forest, voice metal", " forest", " money"),
)
PANEL = (
    Behaviour("agreement", _AGREEMENT),
    Behaviour("capitals", _CAPITALS),
    Behaviour("gender", _GENDER),
    Behaviour("order", _ORDER),
    Behaviour("repetition", _REPETITION),
)

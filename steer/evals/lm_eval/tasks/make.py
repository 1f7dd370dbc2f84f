"""Write the documents of the local tasks: `python -m steer.evals.lm_eval.tasks.make`.

Each is a text to continue and two continuations, one right and one wrong. Both answers stand
equally often in each place, and right answers are balanced over everything that a document names:
who is the indirect object, singular and plural, she and he, positive and negative.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from steer.evals.lm_eval.tasks.documents import FEWSHOT

SEED, TEST = 0, 200
Document = dict[str, object]

WOMEN = [
    "Mary", "Sarah", "Anna", "Emma", "Laura", "Jessica", "Emily", "Rachel", "Susan", "Linda",
    "Karen", "Lisa", "Nancy", "Betty", "Helen", "Alice", "Julia", "Kate", "Jane", "Claire",
]  # fmt: skip
MEN = [
    "John", "James", "Robert", "Michael", "David", "Richard", "Joseph", "Thomas", "Daniel",
    "Matthew", "Anthony", "Mark", "Paul", "Steven", "Andrew", "Kevin", "Brian", "George", "Peter",
    "Henry",
]  # fmt: skip

# -- indirect object identification (Wang et al. 2022) -------------------------------------------

PLACES = ["store", "park", "office", "school", "restaurant", "station", "hospital", "library"]
OBJECTS = ["drink", "book", "ring", "letter", "ticket", "flower", "key", "map"]
SCENES = [
    "When {a} and {b} went to the {place}, {s} gave a {thing} to",
    "After {a} and {b} arrived at the {place}, {s} handed a {thing} to",
    "Then, {a} and {b} were talking at the {place}. {s} decided to give a {thing} to",
    "While {a} and {b} were waiting at the {place}, {s} passed a {thing} to",
    "Friends {a} and {b} found a {thing} at the {place}. {s} gave it to",
]
"""a, b: the two people in the order they are named; s: the subject, who is one of them."""


def ioi(draw: random.Random, number: int) -> Document:
    """The indirect object is named first in every second document."""
    subject, other = draw.sample(WOMEN + MEN, 2)
    first = number % 2 == 0
    a, b = (other, subject) if first else (subject, other)
    scene = SCENES[number % len(SCENES)]
    text = scene.format(a=a, b=b, s=subject, place=draw.choice(PLACES), thing=draw.choice(OBJECTS))
    return _document(text, other, subject, number // 2, "ABBA" if first else "BABA")


# -- subject-verb agreement over a distractor (Linzen et al. 2016) -------------------------------

NOUNS = [
    ("key", "keys"), ("author", "authors"), ("doctor", "doctors"), ("senator", "senators"),
    ("pilot", "pilots"), ("teacher", "teachers"), ("report", "reports"), ("picture", "pictures"),
    ("building", "buildings"), ("player", "players"),
]  # fmt: skip
LINKS = ["near", "behind", "next to", "across from", "in front of"]
DISTRACTORS = [
    ("cabinet", "cabinets"), ("guard", "guards"), ("lawyer", "lawyers"), ("table", "tables"),
    ("window", "windows"), ("garden", "gardens"), ("machine", "machines"), ("car", "cars"),
]  # fmt: skip
VERBS = [("is", "are"), ("was", "were"), ("has", "have")]


def agreement(draw: random.Random, number: int) -> Document:
    """The distractor is of the other number in every second document."""
    plural, differs = number % 2, number // 2 % 2
    noun, distractor, verb = draw.choice(NOUNS), draw.choice(DISTRACTORS), draw.choice(VERBS)
    text = f"The {noun[plural]} {draw.choice(LINKS)} the {distractor[plural ^ differs]}"
    condition = f"{('singular', 'plural')[plural]}, {('same', 'other')[differs]} distractor"
    return _document(text, verb[plural], verb[1 - plural], number // 4, condition)


# -- pronoun gender ------------------------------------------------------------------------------

FEMALE = ["The actress", "The queen", "The waitress", "My mother", "My sister", "The girl"]
FEMALE += ["The woman", "The princess", "My aunt", "My daughter", "The bride", "My wife"]
MALE = ["The actor", "The king", "The waiter", "My father", "My brother", "The boy"]
MALE += ["The man", "The prince", "My uncle", "My son", "The groom", "My husband"]
EVENTS = [
    "{who} missed the train because",
    "{who} went home early, since",
    "{who} opened the letter before",
    "{who} was tired when",
    "{who} said that",
    "{who} stayed at the hotel until",
    "{who} laughed out loud as soon as",
    "{who} called the police after",
]


def gender(draw: random.Random, number: int) -> Document:
    """A name in every second document, else a noun."""
    female, named = number % 2 == 0, number // 2 % 2 == 0
    people = (WOMEN, MEN) if named else (FEMALE, MALE)
    text = draw.choice(EVENTS).format(who=draw.choice(people[0 if female else 1]))
    right, wrong = ("she", "he") if female else ("he", "she")
    return _document(text, right, wrong, number // 4, f"{right}, {'name' if named else 'noun'}")


# -- sentiment -----------------------------------------------------------------------------------

SUBJECTS = {
    "movie": ["acting", "plot", "ending", "music", "dialogue"],
    "restaurant": ["food", "service", "dessert", "coffee", "atmosphere"],
    "hotel": ["room", "staff", "breakfast", "view", "bed"],
    "book": ["story", "writing", "characters", "first chapter", "ending"],
}
GOOD = [
    "delightful", "superb", "lovely", "impressive", "charming", "perfect", "excellent", "brilliant",
]  # fmt: skip
BAD = [
    "dreadful", "horrible", "disappointing", "boring", "awful", "annoying", "poor", "miserable",
]  # fmt: skip
VERDICTS = [("great", "terrible"), ("wonderful", "awful"), ("good", "bad")]
REVIEWS = [
    "I thought the {one} was {x} and the {two} was {y}. Overall, the {what} was",
    "The {one} was {x}. The {two} was {y} too. In short, the {what} was really",
    "What can I say? {x} {one}, {y} {two}. My friends agreed that the {what} was",
]


def sentiment(draw: random.Random, number: int) -> Document:
    """Two aspects of something, both good or both bad, and the verdict."""
    good = number % 2 == 0
    subject = draw.choice(list(SUBJECTS))
    one, two = draw.sample(SUBJECTS[subject], 2)
    x, y = draw.sample(GOOD if good else BAD, 2)
    right, wrong = draw.choice(VERDICTS)[:: 1 if good else -1]
    review = draw.choice(REVIEWS)
    text = review.format(
        one=one, two=two, x=x.capitalize() if "? {x}" in review else x, y=y, what=subject
    )
    return _document(text, right, wrong, number // 2, "positive" if good else "negative")


# -- files ---------------------------------------------------------------------------------------

TASKS: dict[str, Callable[[random.Random, int], Document]] = {
    "ioi": ioi,
    "agreement": agreement,
    "gender": gender,
    "sentiment": sentiment,
}


def documents(task: str) -> list[Document]:
    """All documents of a task, no text twice; the same ones every time."""
    draw = random.Random(f"{task} {SEED}")
    seen: set[object] = set()
    task_documents: list[Document] = []
    for number in range(FEWSHOT + TEST):
        task_documents.append(
            next(
                candidate
                for candidate in _drawn(task, draw, number)
                if candidate["text"] not in seen
            )
        )
        seen.add(task_documents[-1]["text"])
    return task_documents


def _drawn(task: str, draw: random.Random, number: int) -> Iterator[Document]:
    for _ in count():
        yield TASKS[task](draw, number)


def _document(text: str, right: str, wrong: str, turn: int, condition: str) -> Document:
    """The right one stands first in every second turn."""
    choices = [right, wrong] if turn % 2 == 0 else [wrong, right]
    return {"text": text, "choices": choices, "answer": turn % 2, "condition": condition}


def lines(task: str) -> str:
    """The file of a task: a JSON document a line."""
    return "".join(json.dumps(document) + "\n" for document in documents(task))


if __name__ == "__main__":
    for name in TASKS:
        (Path(__file__).parent / f"{name}.jsonl").write_text(lines(name))

"""Indirect object identification: the prompts, and what the model says to them without an edit.

"When Mary and John went to the store, John gave a drink to" continues with " Mary" (Wang et al.
2023). Names, templates and the order in which they are drawn decide what a seed gives, and with it
the published figures: add to none of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from steer.effects.metric import LogitDifference
from steer.errors import PromptError

if TYPE_CHECKING:
    from steer.model import Model

_CASE_NAMES = (
    "Mary John Alice Tom Anna Paul Sarah James Emma Mark Lucy David Jane Peter Kate Henry Laura "
    "George Susan Robert Lisa Michael Julia Daniel"
)
_PAIR_NAMES = (
    "Mary John Tom James Sarah Anna Paul David Michael Robert Susan Laura Mark Peter Alice Kate "
    "Emily Jack Daniel Simon Emma Lucy Henry George Martin Adam Rachel Linda Karen Kevin"
)
CASE_NAMES, PAIR_NAMES = tuple(_CASE_NAMES.split()), tuple(_PAIR_NAMES.split())
CASE_TEMPLATES = (
    "When {io} and {s} went to the store, {s} gave a drink to",
    "Then {io} and {s} had a long talk, and after it {s} said goodbye to",
    "After {io} and {s} came home from work, {s} handed the keys to",
)
PAIR_TEMPLATES = (
    "Then, {io} and {s} went to the {place}, and {s} gave a {thing} to",
    "Then, {s} and {io} went to the {place}, and {s} gave a {thing} to",
    "When {io} and {s} were at the {place}, {s} decided to give a {thing} to",
    "After {s} and {io} left the {place}, {s} handed a {thing} to",
)
PLACES = ("store", "school", "park", "office", "hospital", "station")
THINGS = ("drink", "book", "letter", "ring", "bag", "gift")
_DRAWS = 1000
"""For each prompt that is asked for, before it is given up."""


@dataclass(frozen=True)
class Case:
    """A prompt, the name that should follow, and that of the subject, which should not."""

    prompt: str
    answer: str
    subject: str

    @property
    def metric(self) -> LogitDifference:
        """logit(indirect object) − logit(subject), at the last token."""
        return LogitDifference(self.answer, self.subject)


@dataclass(frozen=True)
class Pair(Case):
    """A case, and the same prompt, token for token, with another indirect object."""

    other: str
    other_answer: str

    @property
    def cases(self) -> tuple[Case, Case]:
        """Both prompts, each with its own answer."""
        return (
            Case(self.prompt, self.answer, self.subject),
            Case(self.other, self.other_answer, self.subject),
        )


Drawn = TypeVar("Drawn", bound=Case)


def cases(model: Model, count: int, seed: int = 0) -> list[Case]:
    """Random ordered pairs of names in each of three templates in turn, no prompt twice.

    Raises `PromptError` if the tokenizer leaves fewer than two names whole, or `count` is more than
    there are.
    """
    names, chance = _whole(model, CASE_NAMES, least=2), random.Random(seed)

    def draw(number: int) -> Case:
        io, subject = chance.sample(names, 2)
        prompt = CASE_TEMPLATES[number % len(CASE_TEMPLATES)].format(io=io, s=subject)
        return Case(prompt, f" {io}", f" {subject}")

    return _different(count, draw)


def pairs(model: Model, count: int, seed: int = 0) -> list[Pair]:
    """Random pairs of equal token length, no prompt twice.

    Raises `PromptError` if the tokenizer leaves fewer than three names whole, or `count` is more
    than there are.
    """
    names, chance = _whole(model, PAIR_NAMES, least=3), random.Random(seed)

    def draw(number: int) -> Pair | None:
        template, place, thing = (
            chance.choice(options) for options in (PAIR_TEMPLATES, PLACES, THINGS)
        )
        io, subject, other = chance.sample(names, 3)
        prompt, swapped = (
            template.format(io=name, s=subject, place=place, thing=thing) for name in (io, other)
        )
        if len(token_ids(model, prompt)) != len(token_ids(model, swapped)):
            return None
        return Pair(prompt, f" {io}", f" {subject}", swapped, f" {other}")

    return _different(count, draw)


def logit_differences(model: Model, given: Sequence[Case], batch: int = 16) -> list[float]:
    """logit(answer) − logit(subject) after each prompt, `batch` prompts at a time."""
    differences = []
    for start in range(0, len(given), batch):
        part = given[start : start + batch]
        last = model.logits(*model.tokenize([case.prompt for case in part]))[:, -1].double()
        for case, row in zip(part, last, strict=True):
            gap = row[model.token_id(case.answer)] - row[model.token_id(case.subject)]
            differences.append(gap.item())
    return differences


def accuracy(model: Model, given: Sequence[Pair], batch: int = 16) -> float:
    """How often the model puts the indirect object above the subject, in prompts of both kinds."""
    both = [case for kind in zip(*(pair.cases for pair in given), strict=True) for case in kind]
    gaps = logit_differences(model, both, batch)
    return sum(gap > 0 for gap in gaps) / len(gaps)


def whole_words(model: Model, words: Sequence[str]) -> list[str]:
    """Those that are one token with their leading space."""
    return [word for word in words if len(token_ids(model, f" {word}")) == 1]


def token_ids(model: Model, text: str) -> list[int]:
    """Of the text alone, without the tokens that open a prompt."""
    ids: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _whole(model: Model, names: Sequence[str], least: int) -> list[str]:
    whole = whole_words(model, names)
    if len(whole) < least:
        raise PromptError(f"{model.name} has {len(whole)} of {len(names)} names as single tokens")
    return whole


def _different(count: int, draw: Callable[[int], Drawn | None]) -> list[Drawn]:
    """The first `count` prompts drawn; `draw` is told how many there are. None counts for none."""
    drawn: dict[str, Drawn] = {}
    for _ in range(_DRAWS * count):
        if (case := draw(len(drawn))) is not None:
            drawn[case.prompt] = case
        if len(drawn) == count:
            break
    if len(drawn) < count:
        raise PromptError(f"{count} prompts were asked for, and only {len(drawn)} different found")
    return list(drawn.values())

"""Indirect object identification: prompts, and the same prompts with another indirect object.

"Then, Mary and John went to the store, and John gave a drink to" continues with " Mary" (Wang et
al. 2023). The counterfactual swaps that name and nothing else, token for token.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steer.effects.metric import LogitDifference
from steer.errors import PromptError

if TYPE_CHECKING:
    from steer.model import Model

_NAMES = (
    "Mary John Tom James Sarah Anna Paul David Michael Robert Susan Laura Mark Peter Alice Kate "
    "Emily Jack Daniel Simon Emma Lucy Henry George Martin Adam Rachel Linda Karen Kevin"
)
NAMES = tuple(_NAMES.split())
TEMPLATES = (
    "Then, {io} and {s} went to the {place}, and {s} gave a {thing} to",
    "Then, {s} and {io} went to the {place}, and {s} gave a {thing} to",
    "When {io} and {s} were at the {place}, {s} decided to give a {thing} to",
    "After {s} and {io} left the {place}, {s} handed a {thing} to",
)
PLACES = ("store", "school", "park", "office", "hospital", "station")
THINGS = ("drink", "book", "letter", "ring", "bag", "gift")


@dataclass(frozen=True)
class Pair:
    """A prompt whose answer is `answer`, not `subject`; in `other` the answer is `other_answer`."""

    prompt: str
    answer: str
    subject: str
    other: str
    other_answer: str

    @property
    def metric(self) -> LogitDifference:
        """logit(indirect object) − logit(subject), at the last token."""
        return LogitDifference(self.answer, self.subject)


def pairs(model: Model, count: int, seed: int = 0) -> list[Pair]:
    """Random pairs of equal token length, none twice.

    Raises `PromptError` if the model's tokenizer does not leave enough names whole.
    """
    names = [n for n in NAMES if len(_ids(model, f" {n}")) == 1]
    if len(names) < 3:
        raise PromptError(f"{model.name} has {len(names)} of {len(NAMES)} names as single tokens")
    chance = random.Random(seed)
    found: dict[str, Pair] = {}
    while len(found) < count:
        template, place, thing = (chance.choice(each) for each in (TEMPLATES, PLACES, THINGS))
        io, subject, other = chance.sample(names, 3)
        prompt, swapped = (
            template.format(io=name, s=subject, place=place, thing=thing) for name in (io, other)
        )
        if len(_ids(model, prompt)) == len(_ids(model, swapped)):
            found[prompt] = Pair(prompt, f" {io}", f" {subject}", swapped, f" {other}")
    return list(found.values())


def accuracy(model: Model, given: Sequence[Pair], batch: int = 16) -> float:
    """How often the model puts the indirect object above the subject, in prompts of both kinds."""
    from steer.splice import passes

    asked = [(pair.prompt, pair.answer, pair.subject) for pair in given]
    asked += [(pair.other, pair.other_answer, pair.subject) for pair in given]
    right = 0
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        ids, mask = model.tokenize([prompt for prompt, _, _ in part])
        with model.lock:
            logits, _ = passes.logits(model.nn, ids, model.span(ids, mask), [])
        for last, (_, answer, subject) in zip(logits[:, -1], part, strict=True):
            right += int(last[model.token_id(answer)] > last[model.token_id(subject)])
    return right / len(asked)


def _ids(model: Model, text: str) -> list[int]:
    ids: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids

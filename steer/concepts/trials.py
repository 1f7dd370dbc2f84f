"""Continuations of neutral prompts under an edit, measured: about the concept, and still fluent?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.concepts.judge import Judge
from steer.concepts.writing import TEMPERATURE, Row, Written, losses, variety, write
from steer.disk.remembered import remembered
from steer.edits import Intervention
from steer.lm.prompts import Prompt, read_prompt

if TYPE_CHECKING:
    from steer.model import Model

CHOOSING = (
    "My favourite thing about the city is",
    "When I woke up this morning,",
    "We spent the whole afternoon talking about",
    "I have always thought that",
    "In my experience,",
    "The first thing you notice is",
)
REPORTING = (
    "The most important thing to know is",
    "She looked out of the window and saw",
    "The book begins with",
    "He opened the door and",
    "The old man told us a story about",
    "What people often forget is",
    "On the way home they",
    "There is nothing better than",
)
"""Prompts that choose the edit, and others that it is reported on; none leans to a topic."""
CHOOSING_SEEDS, REPORTING_SEEDS = (100,), (201, 202)
TOKENS = 40


@dataclass(frozen=True)
class Place:
    """A prompt and a seed; a trial is a text at each place."""

    prompt: Prompt
    seed: int


@dataclass(frozen=True, eq=False)
class Trial:
    """Texts at n places and what they are, each [n].

    similar, mentions: what the two judges say; score: the first one's degree.
    loss_increase: nats a token under the untouched model more than its own text at that place.
    variety: share of different token pairs.
    """

    texts: tuple[str, ...]
    score: Tensor
    similar: Tensor
    mentions: Tensor
    loss_increase: Tensor
    variety: Tensor

    @property
    def on_topic(self) -> Tensor:
        """Whether each text is about the concept: it is like its examples, and has such a word."""
        return (self.similar & self.mentions).double()


@dataclass(frozen=True, eq=False)
class Unsteered:
    """The untouched model's texts at the places, and their losses [n]."""

    places: tuple[Place, ...]
    texts: tuple[str, ...]
    losses: Tensor

    def first(self, n: int) -> Unsteered:
        """The first n places alone."""
        return Unsteered(self.places[:n], self.texts[:n], self.losses[:n])


def places(model: Model, prompts: Sequence[str], seeds: Sequence[int], seed: int) -> list[Place]:
    """Every prompt once for each of the seeds, at luck of its own."""
    n = len(prompts)
    numbered = [(p, n * s + number) for s in seeds for number, p in enumerate(prompts)]
    return [Place(read_prompt(model, p), 10_000 * seed + luck) for p, luck in numbered]


def unsteered(model: Model, at: Sequence[Place]) -> Unsteered:
    """What the untouched model writes; from the cache if it did so before."""
    settings = [
        model.fingerprint,
        model.dtype,
        TOKENS,
        TEMPERATURE,
        [[p.prompt.text, p.seed] for p in at],
    ]

    def make() -> list[list[object]]:
        written = write(model, [Row(place.prompt, place.seed) for place in at], TOKENS)
        values = losses(model, [place.prompt for place in at], written).tolist()
        return [[text.text, loss] for text, loss in zip(written, values, strict=True)]

    pairs = remembered("unsteered", settings, make)
    return Unsteered(
        tuple(at),
        tuple(text for text, _ in pairs),
        torch.tensor([loss for _, loss in pairs], dtype=torch.float64),
    )


def try_edits(
    model: Model,
    dictionary: Dictionary,
    edits: Sequence[Intervention],
    plain: Unsteered,
    judge: Judge,
) -> list[Trial]:
    """A trial of each edit at the same places, in few batches."""
    rows = [Row(at.prompt, at.seed, edit) for edit in edits for at in plain.places]
    return _trials(model, write(model, rows, TOKENS, dictionary), plain, judge)


def try_asking(model: Model, word: str, plain: Unsteered, judge: Judge) -> Trial:
    """The same prompts, after a sentence that says what the text is about."""
    asked = [
        read_prompt(model, f"This text is about {word}.\n\n{p.prompt.text}") for p in plain.places
    ]
    rows = [Row(prompt, at.seed) for prompt, at in zip(asked, plain.places, strict=True)]
    return _trials(model, write(model, rows, TOKENS), plain, judge)[0]


def judged(texts: Sequence[Written], loss: Tensor, plain: Unsteered, judge: Judge) -> Trial:
    """What the texts are, given their losses [n]. A text that is over at once counts as 0 more."""
    said = [text.text for text in texts]
    score = judge.scores(said)
    return Trial(
        texts=tuple(said),
        score=score.double(),
        similar=score > 0,
        mentions=judge.mentions(said),
        loss_increase=(loss - plain.losses).nan_to_num(0.0),
        variety=variety(texts),
    )


def of_unsteered(plain: Unsteered, judge: Judge) -> Trial:
    """The untouched model's own texts as a trial: the baseline."""
    score, zero = judge.scores(plain.texts), torch.zeros(len(plain.texts), dtype=torch.float64)
    mentions = judge.mentions(plain.texts)
    return Trial(plain.texts, score.double(), score > 0, mentions, zero, zero + 1)


def _trials(
    model: Model, written: Sequence[Written], plain: Unsteered, judge: Judge
) -> list[Trial]:
    n = len(plain.places)
    prompts = [place.prompt for place in plain.places] * (len(written) // n)
    values = losses(model, prompts, written)
    return [
        judged(written[start : start + n], values[start : start + n], plain, judge)
        for start in range(0, len(written), n)
    ]

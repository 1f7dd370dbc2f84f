"""Judges of answers that need no other language model: ratings from 0 to 2, as in AxBench.

A judge is first shown answers of the unsteered model, and then rates answers. What it measures is
put on the scale by two anchors, `bad` = 0 and `good` = 2, linear between and flat beyond:

| judge        | measures                                  | bad                | good             |
|--------------|-------------------------------------------|--------------------|------------------|
| `Mentions`   | matches of a pattern or a word list       | 0                  | `enough`         |
| `Resembles`  | cosine with example texts of a concept    | unsteered answers  | the examples     |
| `Fires`      | share of tokens where a feature is active,| unsteered answers  | its top contexts |
|              | read by the untouched model               |                    |                  |
| `Relevance`  | cosine with the instruction               | unsteered answers  | unsteered answers|
|              |                                           | to others          | to this one      |
| `Fluency`    | loss per token under the untouched model; | unsteered answers, | unsteered        |
|              |                                           | tokens shuffled    | answers          |
|              | share of different token pairs            | half the unsteered | unsteered        |

They are proxies: a word list misses paraphrases, and a small model's loss prefers the dull.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.beside.statistics import WINDOW
from dictionaries.dictionary import Dictionary
from steer.errors import SteerError
from steer.evals.steering.answers import Answer, continuations
from steer.evals.steering.embeddings import Embed, minilm
from steer.features.activations import active_share
from steer.model import Model
from steer.runs.fluency import distinct_pairs, losses

TOP = 2.0
"""The best rating."""

Rate = Callable[[Sequence[Answer]], Tensor]
"""Answers -> ratings [n], 0 to 2."""
Judge = Callable[[Sequence[Answer]], Rate]
"""Unsteered answers to at least two instructions -> how to rate others."""


@dataclass(frozen=True)
class Judges:
    """What AxBench asks: is the concept there, is the instruction followed, is it fluent?"""

    concept: Judge
    instruction: Judge
    fluency: Judge


def on_scale(values: Tensor, bad: float, good: float, what: str) -> Tensor:
    """values [n] -> ratings [n], float64. Raises `SteerError` unless good is above bad."""
    if not good - bad > 1e-9:
        raise SteerError(
            f"{what} can't rate here: it measures {bad:.3g} where it should be worst and "
            f"{good:.3g} where it should be best; use another judge"
        )
    return TOP * ((values.double() - bad) / (good - bad)).clamp(0, 1)


@dataclass(frozen=True)
class Mentions:
    """Counts matches of a regular expression, capitals ignored; `enough` of them rate 2."""

    pattern: str
    enough: int = 2

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise SteerError(f"{self.pattern!r} is no regular expression: {error}") from error
        if self.enough < 1:
            raise SteerError(f"enough={self.enough} is not allowed: it must be 1 or more")

    @classmethod
    def of_words(cls, words: Sequence[str], enough: int = 2) -> Mentions:
        """Counts these words, whole ones only. Raises `SteerError` for none."""
        if isinstance(words, str) or not [word for word in words if word.strip()]:
            raise SteerError(f"words must be one or more words, not {words!r}")
        joined = "|".join(re.escape(word.strip()) for word in words if word.strip())
        return cls(rf"(?<!\w)(?:{joined})(?!\w)", enough)

    def __call__(self, unsteered: Sequence[Answer]) -> Rate:
        expression = re.compile(self.pattern, re.IGNORECASE)

        def rate(answers: Sequence[Answer]) -> Tensor:
            counts = [len(expression.findall(answer.text)) for answer in answers]
            return on_scale(torch.tensor(counts), 0, self.enough, "Mentions")

        return rate


@dataclass(frozen=True)
class Resembles:
    """Cosine with the mean of example texts (two or more)."""

    examples: tuple[str, ...]
    embed: Embed = minilm

    def __call__(self, unsteered: Sequence[Answer]) -> Rate:
        if len(self.examples) < 2:
            raise SteerError(f"Resembles needs two or more examples, not {len(self.examples)}")
        vectors = self.embed(self.examples)
        others = (vectors.sum(0) - vectors) / (len(vectors) - 1)
        good = torch.cosine_similarity(vectors, others).mean().item()
        centre = vectors.mean(0, keepdim=True)

        def cosine(answers: Sequence[Answer]) -> Tensor:
            return torch.cosine_similarity(self.embed([a.text for a in answers]), centre)

        bad = cosine(unsteered).mean().item()
        return lambda answers: on_scale(cosine(answers), bad, good, "Resembles")


@dataclass(frozen=True, eq=False)
class Fires:
    """Whether the untouched model, reading the answer, finds the feature in it.

    It asks what the text says, not what was done to write it: the edit is not there. `good` is the
    feature's share of active tokens in the contexts that its statistics keep.
    """

    model: Model
    dictionary: Dictionary
    feature: int

    def __call__(self, unsteered: Sequence[Answer]) -> Rate:
        statistics = self.dictionary.statistics
        if statistics is None:
            raise SteerError(f"{self.dictionary.name} has no statistics, which Fires rates by")
        context = statistics.context_activations[self.feature]
        real = statistics.contexts[self.feature] >= 0
        good = ((context > 0) & real).sum().item() / max(int(real.sum()), 1)

        def share(answers: Sequence[Answer]) -> Tensor:
            return active_share(self.model, continuations(answers), self.dictionary, self.feature)

        # At least one active token in a window, so that a single one does not make a 2.
        good = max(good, 1 / sum(WINDOW))
        bad = min(share(unsteered).mean().item(), good / 2)
        return lambda answers: on_scale(share(answers), bad, good, "Fires")


@dataclass(frozen=True)
class Relevance:
    """Cosine of answer and instruction."""

    embed: Embed = minilm

    def __call__(self, unsteered: Sequence[Answer]) -> Rate:
        grid = self.embed([a.text for a in unsteered]) @ self._asked(unsteered).T
        own = torch.tensor([[a.instruction == b.instruction for b in unsteered] for a in unsteered])
        if own.all():
            raise SteerError("Relevance needs unsteered answers to two different instructions")
        bad, good = grid[~own].mean().item(), grid[own].mean().item()

        def rate(answers: Sequence[Answer]) -> Tensor:
            vectors = self.embed([answer.text for answer in answers])
            return on_scale((vectors * self._asked(answers)).sum(-1), bad, good, "Relevance")

        return rate

    def _asked(self, answers: Sequence[Answer]) -> Tensor:
        return self.embed([answer.instruction for answer in answers])


@dataclass(frozen=True, eq=False)
class Fluency:
    """The worse of two: how likely the untouched model finds it, and how little it repeats.

    Degenerate repetition is very likely, so the one alone would praise it. An answer of fewer than
    two tokens rates 0.
    """

    model: Model
    seed: int = 0

    def __call__(self, unsteered: Sequence[Answer]) -> Rate:
        long = [answer for answer in unsteered if len(answer.ids) > 1]
        if not long:
            raise SteerError("Fluency can't rate here: no unsteered answer has two tokens")
        good = -losses(self.model, continuations(long)).mean().item()
        bad = -losses(self.model, continuations([self._shuffled(a) for a in long])).mean().item()
        varied = torch.tensor([distinct_pairs(answer.ids) for answer in long]).mean().item()

        def rate(answers: Sequence[Answer]) -> Tensor:
            likely = on_scale(-losses(self.model, continuations(answers)), bad, good, "Fluency")
            pairs = torch.tensor([distinct_pairs(answer.ids) for answer in answers])
            ratings = torch.minimum(likely, on_scale(pairs, varied / 2, varied, "Fluency"))
            short = torch.tensor([len(answer.ids) < 2 for answer in answers])
            return ratings.masked_fill(short, 0.0)

        return rate

    def _shuffled(self, answer: Answer) -> Answer:
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(answer.ids), generator=generator).tolist()
        ids = tuple(answer.ids[place] for place in order)
        return Answer(answer.instruction, answer.text, answer.prompt_ids, ids)

"""Is a text about the concept? Two judges that need no other language model, and no network.

`similarity`: a text's sentence embedding, projected on the held-out examples' mean minus the
background's. What counts is set by texts that are not about it: at most one in twenty of the
untouched model's continuations, and of the answers about other words, may pass.
`words`: whether it has a word of the field: the concept's own, and those of the vocabulary whose
embeddings are nearest to it, which no example of the model's had a part in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer.concepts.examples import Examples
from steer.evals.steering.embeddings import Embed

FALSE = 0.05
"""Largest share of background texts that the judge may take for the concept."""
FIELD_WORDS = 80
NEAR = 0.45
"""Least cosine of a word of the field with the concept's own."""
_WORD = re.compile(r"[a-z']{4,}")
_MASK = "something"


@dataclass(frozen=True, eq=False)
class Judge:
    """direction [d] of embeddings; threshold: what a text of the concept passes.

    sensitivity: share of the fitting half's examples that pass, which the judge never saw.
    known: the same with the word itself masked: whether the model knows anything else of it.
    """

    embed: Embed
    direction: Tensor
    threshold: float
    scale: float
    field: tuple[str, ...]
    sensitivity: float
    known: float

    def scores(self, texts: Sequence[str]) -> Tensor:
        """How much each text is about the concept [n]: 0 at the threshold, 1 at its examples."""
        return (self.embed(list(texts)) @ self.direction - self.threshold) / self.scale

    def similar(self, texts: Sequence[str]) -> Tensor:
        """Whether each text passes, [n]."""
        return self.scores(texts) > 0

    def mentions(self, texts: Sequence[str]) -> Tensor:
        """Whether each text has a word of the field, [n]."""
        return torch.tensor([any(_has(text, word) for word in self.field) for text in texts])


def judge(
    word: str,
    examples: Examples,
    unsteered: Sequence[str],
    vocabulary: Sequence[str],
    embed: Embed,
) -> Judge:
    """A judge of the concept, set by the held-out examples and by what is not about it."""
    others = [text for texts in examples.others.values() for text in texts]
    background = [*examples.neutral, *others]
    held_out, fit = embed(list(examples.held_out)), embed(list(examples.fit))
    away, plain = embed(background), embed(list(unsteered))
    direction = held_out.mean(0) - torch.cat([away, plain]).mean(0)
    cuts = [_cut(away @ direction), _cut(plain @ direction)]
    threshold = max(cuts)
    scale = max((held_out @ direction).mean().item() - threshold, 1e-6)
    return Judge(
        embed=embed,
        direction=direction,
        threshold=threshold,
        scale=scale,
        field=field_words(word, vocabulary, [*background, *unsteered], embed),
        sensitivity=((fit @ direction) > threshold).double().mean().item(),
        known=_known(word, examples, background, embed),
    )


def field_words(
    word: str, vocabulary: Sequence[str], background: Sequence[str], embed: Embed
) -> tuple[str, ...]:
    """The concept's own words, and those of the vocabulary whose embedding is nearest to its.

    Nearest first, without any that more than 1 in 50 background texts have, and no more of them
    than leave all together in at most `FALSE` of those texts.
    """
    own = tuple(part.lower() for part in word.split() if len(part) > 2) or (word.lower(),)
    near = embed(list(vocabulary)) @ embed([word])[0] if vocabulary else torch.zeros(0)
    documents = [frozenset(_WORD.findall(text.lower())) for text in background]
    field, caught = list(own), set[int]()
    for place in near.argsort(descending=True).tolist()[:FIELD_WORDS]:
        other = vocabulary[place]
        hits = {number for number, words in enumerate(documents) if other in words}
        if near[place] < NEAR or len(caught | hits) > FALSE * len(documents):
            break
        if len(hits) <= len(documents) / 50:
            field.append(other)
            caught |= hits
    return tuple(dict.fromkeys(field))


def _has(text: str, word: str) -> bool:
    stem = re.escape(word[:-1] if len(word) > 4 and word[-1] in "ey" else word)
    return re.search(rf"\b{stem}\w{{0,3}}\b", text, re.IGNORECASE) is not None


def _known(word: str, examples: Examples, background: Sequence[str], embed: Embed) -> float:
    """Share of fitting examples that are told from the background with the word masked."""
    pattern = re.compile(rf"{re.escape(word)}\w*", re.IGNORECASE)
    fit, held_out = (
        embed([pattern.sub(_MASK, text) for text in half])
        for half in (examples.fit, examples.held_out)
    )
    away = embed(list(background))
    direction = held_out.mean(0) - away.mean(0)
    return ((fit @ direction) > _cut(away @ direction)).double().mean().item()


def _cut(scores: Tensor) -> float:
    """What at most `FALSE` of the scores exceed."""
    allowed = int(FALSE * len(scores))
    return scores.sort(descending=True).values[allowed].item()

"""What fires on a word: measured, in a few short contexts, beside other words in the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.errors import PromptError
from steer.features.activations import encode
from steer.features.fit import site_of
from steer.lm.language_model import LanguageModel
from steer.maths.precision import exact

CONTEXTS = ("I thought about the", "She wrote a book about", "It was all", "We talked about")
"""What stands before the word."""
OTHERS = (
    *("house", "time", "money", "music", "doctor", "family", "window", "winter"),
    *("question", "country", "red", "running"),
)
"""Common words of different fields: what fires on them as well is not about the word."""
MOST_WORDS = 8
"""Of a phrase that is searched for."""


@dataclass(frozen=True, eq=False)
class Fires:
    """What each of `width` features does on a word.

    activation [width]: mean over the contexts of the largest at the word's tokens.
    share [width]: of the contexts, where it is active there.
    words, tokens: how many were read after each context; tokens of the first.
    """

    activation: Tensor
    share: Tensor
    words: int
    tokens: int


@torch.inference_mode()
def fires(model: LanguageModel, dictionary: Dictionary, words: str) -> Fires:
    """Reads the words after each of `CONTEXTS`, in one pass.

    Raises `PromptError` for more than `MOST_WORDS` words or none, `DictionaryError` for a
    dictionary of another model.
    """
    words = words.strip()
    if not 0 < len(words.split()) <= MOST_WORDS:
        raise PromptError(
            f"search for one word, or a phrase of up to {MOST_WORDS}; these are "
            f"{len(words.split())}"
        )
    peaks = _peaks(model, dictionary, [words])[0]
    before, whole = model.tokenize_each([CONTEXTS[0], f"{CONTEXTS[0]} {words}"])
    tokens = max(1, len(whole) - len(before))
    return Fires(peaks.mean(0), (peaks > 0).float().mean(0), len(words.split()), tokens)


@torch.inference_mode()
def others(model: LanguageModel, dictionary: Dictionary) -> Tensor:
    """Mean activations [words, width] of each feature on each of `OTHERS`."""
    return _peaks(model, dictionary, OTHERS).mean(1)


def _peaks(
    model: LanguageModel, dictionary: Dictionary, words: tuple[str, ...] | list[str]
) -> Tensor:
    """Each feature's largest activation at the tokens of each word, [words, contexts, width]."""
    site = site_of(model, dictionary)
    texts = [f"{before} {word}" for word in words for before in CONTEXTS]
    starts = [len(row) for row in model.tokenize_each(CONTEXTS)]
    rows = model.tokenize_each(texts)
    ids, mask = model.tokenize(texts)
    x = exact(model.collect(ids, mask, [site])[site])
    peaks = []
    for number, row in enumerate(rows):
        own = x[number, -len(row) :]
        begin = min(starts[number % len(CONTEXTS)], len(row) - 1)
        peaks.append(encode(dictionary, own)[begin:].amax(0).cpu())
    return torch.stack(peaks).view(len(words), len(CONTEXTS), -1)

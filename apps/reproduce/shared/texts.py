"""Natural text to measure on: passages of documents that the shipped dictionaries never saw."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from apps.corpora import documents
from steer.disk.cache import cache_folder
from steer.errors import PromptError

if TYPE_CHECKING:
    from steer.model import Model

SOURCES = ("news", "brown")
_HELD_OUT_EVERY = 18
"""As `apps.training.contexts` holds documents out, for the shipped recipe's share of 0.055."""
_PER_SOURCE = 200


@dataclass(frozen=True)
class Passage:
    """A piece of text, and the token that follows it."""

    text: str
    following: int


def passages(
    model: Model, count: int, tokens: int, seed: int = 0, sources: Sequence[str] = SOURCES
) -> list[Passage]:
    """Random pieces of `tokens` tokens, each of another document.

    Pieces whose text does not give their tokens again are passed over. Raises `PromptError` if
    the held-out documents are too few.
    """
    chance = random.Random(seed)
    held_out = [text for name in sources for text in _held_out(name)]
    chance.shuffle(held_out)
    pieces: list[Passage] = []
    for text in held_out:
        ids = model.tokenizer(text[:4000], add_special_tokens=False)["input_ids"]
        if len(ids) <= tokens + 1:
            continue
        start = chance.randrange(len(ids) - tokens)
        piece = model.tokenizer.decode(ids[start : start + tokens])
        if model.tokenizer(piece)["input_ids"] == ids[start : start + tokens]:
            pieces.append(Passage(piece, ids[start + tokens]))
        if len(pieces) == count:
            return pieces
    raise PromptError(f"only {len(pieces)} passages of {tokens} tokens were found, not {count}")


def _held_out(name: str) -> list[str]:
    read = documents(name, cache_folder())
    return list(islice(islice(read, _HELD_OUT_EVERY - 1, None, _HELD_OUT_EVERY), _PER_SOURCE))

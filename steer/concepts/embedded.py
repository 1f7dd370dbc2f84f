"""Sentence embeddings that are read once a text, for one search."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from steer.disk.remembered import remembered_tensors
from steer.evals.steering.embeddings import PACKAGE, Embed, minilm

VOCABULARY = 12_000
"""Most words that a field is looked for among."""


def vocabulary(tokenizer: Any) -> tuple[str, ...]:
    """Whole words of four letters or more that are one token after a space, the first ids first.

    A tokenizer by merges has the commonest first.
    """
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    words = [text[1:] for text in texts if re.fullmatch(r" [a-z]{4,}", text)]
    return tuple(dict.fromkeys(words))[:VOCABULARY]


def embedder(known: Sequence[str]) -> Embed:
    """`minilm`, which remembers the texts it was given; those of `known` in the cache folder too.

    known: texts that every search of this model has.
    """
    listed = list(dict.fromkeys(known))
    stored = remembered_tensors("embedded", [PACKAGE, listed], lambda: {"vectors": minilm(listed)})[
        "vectors"
    ]
    vectors = dict(zip(listed, stored, strict=True))

    def embed(texts: Sequence[str]) -> Tensor:
        new = [text for text in dict.fromkeys(texts) if text not in vectors]
        vectors.update(zip(new, minilm(new), strict=True))
        return torch.stack([vectors[text] for text in texts])

    return embed

"""Readings with planted features, and sentences embedded by their words."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from dictionaries.architectures import ReLU
from dictionaries.dictionary import DictionaryConfig
from steer.concepts.candidates import Background
from steer.concepts.reading import Reading

WIDTH, D, TEXTS = 40, 16, 12
CONCEPT, GENERIC, DENSE, FIT_ONLY, RARE = 3, 7, 11, 15, 19
"""Fires about the concept alone; about everything; on most tokens; in one half; in few texts."""


def dictionary() -> ReLU:
    g = torch.Generator().manual_seed(1)
    rows = torch.nn.functional.normalize(torch.randn(WIDTH, D, generator=g), dim=1)
    return ReLU(
        W_enc=rows.T.contiguous(),
        W_dec=rows,
        b_enc=torch.zeros(WIDTH),
        b_dec=torch.zeros(D),
        config=DictionaryConfig(hookpoint="resid_post.1", d_in=D, width=WIDTH),
        name="planted",
    )


def reading(active: dict[int, float], share: float = 0.02, texts: int = TEXTS) -> Reading:
    """Texts in which the features have these means; `share` of the tokens each."""
    mean, shares = torch.zeros(texts, WIDTH), torch.zeros(texts, WIDTH)
    for feature, value in active.items():
        mean[:, feature] = value
        shares[:, feature] = share
    return Reading(mean, shares, mean @ dictionary().W_dec, torch.full((texts,), 10.0))


def fit() -> Reading:
    found = reading({CONCEPT: 2.0, GENERIC: 3.0, DENSE: 3.0, FIT_ONLY: 5.0, RARE: 9.0})
    found.share[3:, RARE] = 0
    return found


def held_out() -> Reading:
    found = reading({CONCEPT: 1.5, GENERIC: 3.0, DENSE: 3.0, RARE: 9.0})
    found.share[3:, RARE] = 0
    return found


def background() -> Background:
    neutral = reading({CONCEPT: 0.1, DENSE: 1.0}, share=0.001)
    neutral.share[:, DENSE] = 0.5
    others = tuple(reading({GENERIC: 3.1, DENSE: 1.0}, share=0.02) for _ in range(8))
    return Background(neutral, others)


def embed(texts: Sequence[str]) -> Tensor:
    """Unit vectors [n, 64]: a text is the sum of its words' own random directions."""
    vectors = [sum(map(_vector, text.lower().split()), torch.zeros(64)) for text in texts]
    return torch.nn.functional.normalize(torch.stack(vectors), dim=1)


def _vector(word: str) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(word.strip(".,").encode()))
    return torch.randn(64, generator=generator)

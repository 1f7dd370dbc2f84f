"""Dictionaries that read a token in its text, spliced into a model that reads token by token.

With a key-value cache a decoding step sees one token, so what the site held before is kept for the
run: the clean activations, which edits at the same site do not change at earlier tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dictionaries.config import Norm
from dictionaries.dictionary import Dictionary
from steer.edits.conditions import Leaf
from steer.errors import InterventionError
from steer.lm.span import Span

Memory = dict[tuple[int, Leaf | str], Tensor]
"""What is remembered between the passes of one run, by plan: of `Seen` conditions [b], of texts."""


def encode(
    dictionary: Dictionary, x: Tensor, span: Span, memory: Memory, number: int
) -> tuple[Tensor, Norm]:
    """Features of the tokens x [b, s, d] of this pass, and how to undo their normalisation.

    Raises `InterventionError` for a dictionary that reads texts if the pass continues one whose
    beginning it has not seen.
    """
    if not dictionary.reads_texts:
        return dictionary.encode(x)
    text, real, s = x, span.real, x.shape[1]
    if bool((span.absolute[:, 0] > 0).any()):
        if (number, "text") not in memory:
            raise InterventionError(
                f"{dictionary.name or 'the dictionary'} reads whole texts, and this pass continues "
                "one from a cache: run it from the start of the text"
            )
        text = torch.cat([memory[number, "text"], x], dim=1)
        real = torch.cat([memory[number, "real"], real], dim=1)
    memory[number, "text"], memory[number, "real"] = text.clone(), real
    features, norm = dictionary.encode_texts(text, real)
    parts = (None if part is None else part[:, -s:] for part in (norm.scale, norm.shift))
    return features[:, -s:], Norm(*parts)

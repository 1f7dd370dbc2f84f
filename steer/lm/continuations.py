"""Continuations of prompts, read back by the untouched model in batches of about equal length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from steer.errors import PromptError
from steer.lm.language_model import LanguageModel

_BATCH = 32


class Continuation(NamedTuple):
    """before, ids: the tokens that were read before it, and its own."""

    before: tuple[int, ...]
    ids: tuple[int, ...]


def batches(
    model: LanguageModel, continuations: Sequence[Continuation]
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Left-padded ids and mask [b, s] of some at a time, with the place of each row.

    Raises `PromptError` for a continuation without tokens.
    """
    lengths = [len(continuation.before) + len(continuation.ids) for continuation in continuations]
    if empty := [place for place, continuation in enumerate(continuations) if not continuation.ids]:
        raise PromptError(f"continuation {empty[0]} of {len(lengths)} has no tokens to read")
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), _BATCH):
        places = order[start : start + _BATCH]
        yield places, *model.pad([sum(continuations[place], ()) for place in places])

"""Requests of lm-eval as rows of a batch: which tokens are read, and where each prompt ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steer.errors import PromptError
from steer.lm.span import Span

TokenRequest = tuple[Any, list[int], list[int]]
"""lm-eval's: (key for its cache, context, continuation)."""


@dataclass(frozen=True)
class Row:
    """A text that the model reads: the context and all of the continuation but its last token.

    request: the one with the longest continuation of those that the row answers.
    numbers: of all of them.
    ids: the tokens; what is too long for the model is cut from the left.
    """

    request: TokenRequest
    numbers: tuple[int, ...]
    ids: list[int]

    @property
    def prompt_length(self) -> int:
        """Tokens of the context, as far as they are not cut off."""
        return len(self.ids) - len(self.request[2]) + 1

    @property
    def order(self) -> tuple[int, list[int]]:
        """The order in which `hf` makes its batches: longest first."""
        text = self.request[1] + self.request[2]
        return -len(text), text


def read_rows(
    requests: Sequence[TokenRequest], most: int, *, share: bool, prompts_matter: bool
) -> list[Row]:
    """The rows that answer all requests, in `hf`'s order.

    most: tokens that the model reads.
    share: requests that differ in their last token alone are answered by one row, as `hf` does.
    prompts_matter: only if their prompts end at the same token as well, since edits may ask.

    Raises `PromptError` for a continuation without a token of its own.
    """
    groups: dict[Any, list[int]] = {}
    for number, (text, context, continuation) in enumerate(requests):
        if not context or not continuation:
            raise PromptError(
                f"{text!r}: context and continuation must have a token each; here the tokenizer "
                "makes one of both; end the context with a space, or set target_delimiter"
            )
        key: tuple[Any, ...] = (number,)
        if share:
            key = (*context, *continuation[:-1]), len(context) if prompts_matter else None
        groups.setdefault(key, []).append(number)
    rows = []
    for numbers in groups.values():
        longest = requests[max(numbers, key=lambda number: len(requests[number][2]))]
        ids = (longest[1] + longest[2])[-(most + 1) : -1]
        rows.append(Row(longest, tuple(numbers), ids))
    return sorted(rows, key=lambda row: row.order)


def right_padded(ids: Tensor, stop: Tensor, prompts: Tensor, special: Sequence[int]) -> Span:
    """The tokens of right-padded ids [b, s], of texts of length `stop` [b] whose first `prompts`
    [b] tokens are the prompt. Pads have position -1."""
    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    real = places < stop.unsqueeze(1)
    listed = torch.tensor(list(special), dtype=torch.long, device=ids.device)
    return Span(torch.where(real, places, -1), real, prompts, ids, listed)


def score(scores: Tensor, continuation: Sequence[int]) -> tuple[float, bool]:
    """Sum of log-probabilities, from scores [t, V] of t tokens, and whether all are the likeliest.

    Summed as lm-eval does it, so that it rounds alike.
    """
    wanted = torch.tensor(continuation, device=scores.device)
    greedy = bool((scores.argmax(-1) == wanted).all())
    return float(scores.unsqueeze(0).gather(2, wanted.view(1, -1, 1)).squeeze(-1).sum()), greedy

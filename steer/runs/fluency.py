"""What the untouched model makes of answers: its loss on them, and which features fire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.errors import PromptError
from steer.evals.steering.answers import Answer
from steer.lm.prompts import Prompt, pad
from steer.maths import metrics
from steer.maths.precision import compute_dtype
from steer.splice import passes

if TYPE_CHECKING:
    from steer.model import Model

_BATCH = 32


@torch.inference_mode()
def losses(model: Model, answers: Sequence[Answer]) -> Tensor:
    """Mean loss [n] of each answer's own tokens after its prompt, in nats per token.

    Raises `PromptError` for an answer without tokens.
    """
    found = torch.zeros(len(answers), dtype=torch.float64)
    for index, part in _parts(answers):
        ids, mask = _read(model, part)
        with model.lock:
            logits, _ = passes.logits(model.nn, ids, model.span(ids, mask), [])
        loss = metrics.cross_entropy(logits, ids)
        for place, row, answer in zip(index, loss, part, strict=True):
            found[place] = row[-len(answer.ids) :].double().mean().cpu()
    return found


@torch.inference_mode()
def active_share(
    model: Model, answers: Sequence[Answer], dictionary: Dictionary, feature: int
) -> Tensor:
    """Share [n] of each answer's tokens where the feature is active, read without edits."""
    hookpoint = model.site_of(dictionary)
    used = dictionary.restrict([feature]) if dictionary.separable else dictionary
    column = 0 if dictionary.separable else feature
    found = torch.zeros(len(answers), dtype=torch.float64)
    for index, part in _parts(answers):
        ids, mask = _read(model, part)
        x = model.collect(ids, mask, [hookpoint])[hookpoint]
        moved = used.to(x.device, compute_dtype(x.dtype))
        active = moved.encode(x)[0][..., column] > 0
        for place, row, answer in zip(index, active, part, strict=True):
            found[place] = row[-len(answer.ids) :].double().mean().cpu()
    return found


def distinct_pairs(ids: Sequence[int]) -> float:
    """Share of consecutive token pairs that are different from each other; 0 if there are none."""
    pairs = list(pairwise(ids))
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def _parts(answers: Sequence[Answer]) -> Iterator[tuple[list[int], list[Answer]]]:
    """Batches of about equal length, with each answer's place."""
    if empty := next((answer for answer in answers if not answer.ids), None):
        raise PromptError(f"the answer to {empty.instruction!r} has no tokens to read")
    order = sorted(range(len(answers)), key=lambda i: len(answers[i].prompt_ids + answers[i].ids))
    for start in range(0, len(order), _BATCH):
        index = order[start : start + _BATCH]
        yield index, [answers[place] for place in index]


def _read(model: Model, answers: Sequence[Answer]) -> tuple[Tensor, Tensor]:
    return pad(model, [Prompt(a.text, a.prompt_ids + a.ids) for a in answers])

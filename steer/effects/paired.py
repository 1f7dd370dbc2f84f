"""Texts run clean and edited as two rows of one batch, so that nothing but the edit differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dictionaries.base import Dictionary
from steer import engine, receipt
from steer.edits import Intervention
from steer.receipt import Receipt

if TYPE_CHECKING:
    from steer.model import Model


@dataclass(frozen=True, eq=False)
class Pair:
    """One text: ids [s], logits [s, V] clean and edited, and what the edit did."""

    ids: Tensor
    clean: Tensor
    edited: Tensor
    receipt: Receipt


def run_pairs(
    model: Model,
    texts: Sequence[Tensor],
    interventions: Sequence[Intervention],
    dictionaries: Sequence[Dictionary] = (),
    *,
    prompt_lengths: Sequence[int] | None = None,
    batch: int = 16,
) -> Iterator[Pair]:
    """Each text's ids [s] clean and edited, `batch` texts at a time.

    prompt_lengths: where each text's prompt ends, for edits whose positions ask; its whole length
        by default.
    """
    lengths = prompt_lengths or [len(text) for text in texts]
    for start in range(0, len(texts), batch):
        part, n = texts[start : start + batch], len(texts[start : start + batch])
        plans = model.plans(
            interventions, dictionaries, rows=slice(n, 2 * n), clean=slice(0, n)
        )
        ids, mask = pad(model, [*part, *part])
        prompts = torch.tensor(list(lengths[start : start + n]) * 2, device=ids.device)
        span = replace(model.span(ids, mask), prompt_length=prompts)
        with model.lock:
            logits, records = engine.logits(model.nn, ids, span, plans)
        for row, text in enumerate(part):
            tokens = [model.token(token) for token in text.tolist()]
            yield Pair(
                ids=text,
                clean=logits[row, -len(text) :],
                edited=logits[n + row, -len(text) :],
                receipt=receipt.build(interventions, [records], tokens, row=row),
            )


def pad(model: Model, texts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Left-padded ids and mask [b, s] of texts that are ids already."""
    longest = max(len(text) for text in texts)
    ids = torch.full((len(texts), longest), model.tokenizer.pad_token_id, device=model.device)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, longest - len(text) :] = text.to(model.device)
        mask[row, longest - len(text) :] = 1
    return ids, mask


def tokenize_each(model: Model, prompts: Sequence[str]) -> list[Tensor]:
    """Ids [s] of each prompt, without padding. Raises as `Model.tokenize` does."""
    ids, mask = model.tokenize(list(prompts))
    return [row[real.bool()] for row, real in zip(ids, mask, strict=True)]

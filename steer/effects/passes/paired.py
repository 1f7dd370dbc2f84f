"""Texts run clean and edited in two batches of one shape, so that nothing but the edit differs.

Not as rows of one batch: the last bits of a row depend on its place in the batch, and an edit that
does nothing would show an effect of 1e-7. Only the frozen error needs its clean rows at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.edits.rows import of_row, of_rows
from steer.lm.remote import Remote
from steer.lm.span import Span
from steer.model import Model
from steer.splice.build_receipt import build
from steer.splice.edited import edited_logits
from steer.splice.receipt import Receipt
from steer.splice.record import Record


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
    remote: Remote = False,
) -> Iterator[Pair]:
    """Each text's ids [s] clean and edited, `batch` texts at a time.

    interventions: positions by row are for the texts, in their order.
    prompt_lengths: where each text's prompt ends, for edits whose positions ask; its whole length
        by default.
    """
    lengths = prompt_lengths or [len(text) for text in texts]
    batch = batch if model.can_pad else 1
    for start in range(0, len(texts), batch):
        rows = slice(start, start + batch)
        part, edits = texts[rows], of_rows(interventions, rows, len(texts))
        ids, mask = model.pad(part)
        prompts = torch.tensor(list(lengths[rows]), device=ids.device)
        span = replace(model.span(ids, mask), prompt_length=prompts)
        clean, edited, records = _both(model, ids, span, edits, dictionaries, remote)
        for row, text in enumerate(part):
            tokens = [model.token(token) for token in text.tolist()]
            own = of_row(edits, row, len(part))
            yield Pair(
                ids=text,
                clean=clean[row, -len(text) :],
                edited=edited[row, -len(text) :],
                receipt=build(own, [records], tokens, row=row),
            )


def _both(
    model: Model,
    ids: Tensor,
    span: Span,
    interventions: Sequence[Intervention],
    dictionaries: Sequence[Dictionary],
    remote: Remote,
) -> tuple[Tensor, Tensor, list[Record]]:
    """Logits [n, s, V] clean and edited, and what the edits did."""
    n = len(ids)
    if all(intervention.error != "frozen" for intervention in interventions):
        plans = model.plans(interventions, dictionaries, rows=slice(0, n))
        clean, _ = edited_logits(model, ids, span, [], remote)
        edited, records = edited_logits(model, ids, span, plans, remote)
        return clean, edited, records
    plans = model.plans(interventions, dictionaries, rows=slice(n, 2 * n), clean=slice(0, n))
    both, records = edited_logits(model, ids.repeat(2, 1), span.repeat(2), plans, remote)
    return both[:n], both[n:], records

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
from steer.lm.remote_answers import Question, answers
from steer.model import Model
from steer.splice.build_receipt import build
from steer.splice.edited import Edited, edited_pass
from steer.splice.receipt import Receipt


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
    remote: as for `Model.generate`: two jobs a batch, its clean and its edited pass, or one where
        an error is frozen.
    """
    lengths = prompt_lengths or [len(text) for text in texts]
    size = batch if model.can_pad else 1
    cuts = [slice(start, start + size) for start in range(0, len(texts), size)]
    batches = [
        _Batch(
            model, texts[rows], lengths[rows], of_rows(interventions, rows, len(texts)),
            dictionaries,
        )
        for rows in cuts
    ]  # fmt: skip
    passes = answers(model, remote, (question for part in batches for question in part.questions()))
    for part in batches:
        yield from part.pairs(passes)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Some texts, and what is done to them."""

    model: Model
    texts: Sequence[Tensor]
    prompt_lengths: Sequence[int]
    edits: Sequence[Intervention]
    dictionaries: Sequence[Dictionary]

    @property
    def together(self) -> bool:
        """Whether clean and edited rows have to be in one pass."""
        return any(intervention.error == "frozen" for intervention in self.edits)

    def questions(self) -> Iterator[Question[Edited]]:
        """The clean pass and the edited one, or one of both."""
        n, model = len(self.texts), self.model
        ids, mask = model.pad(self.texts)
        prompts = torch.tensor(list(self.prompt_lengths), device=ids.device)
        span = replace(model.span(ids, mask), prompt_length=prompts)
        if self.together:
            plans = self.model.plans(
                self.edits, self.dictionaries, rows=slice(n, 2 * n), clean=slice(0, n)
            )
            of = f"{n} texts, clean and edited"
            yield edited_pass(model, ids.repeat(2, 1), span.repeat(2), plans, of)
            return
        plans = model.plans(self.edits, self.dictionaries, rows=slice(0, n))
        yield edited_pass(model, ids, span, [], f"{n} texts, clean")
        yield edited_pass(model, ids, span, plans, f"{n} texts, edited")

    def pairs(self, passes: Iterator[Edited]) -> Iterator[Pair]:
        """Of each text; passes: the answers of all questions from this batch's on."""
        n = len(self.texts)
        if self.together:
            both, records = next(passes)
            clean, edited = both[:n], both[n:]
        else:
            clean, _ = next(passes)
            edited, records = next(passes)
        for row, text in enumerate(self.texts):
            tokens = [self.model.token(token) for token in text.tolist()]
            yield Pair(
                ids=text,
                clean=clean[row, -len(text) :],
                edited=edited[row, -len(text) :],
                receipt=build(of_row(self.edits, row, n), [records], tokens, row=row),
            )

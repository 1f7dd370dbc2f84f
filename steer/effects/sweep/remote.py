"""A sweep's edited passes on a server: one job a batch of rows, of which the first is clean.

The prompt is read, and its edits are lowered, here; what is sent is a row of the decoder and an
amount a token for each edit, and our source. The server runs whole passes: nothing is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from steer.effects.metric import Reference
from steer.effects.sweep.prepared import Prepared
from steer.errors import SteerError
from steer.lm.passes.added import Added, added
from steer.lm.passes.resumed import Takes
from steer.lm.remote import Remote, host_of
from steer.lm.remote_jobs import Question, answers, digest_of
from steer.maths.numbers import check_whole

ROWS = 32
"""Edited rows of a job."""
Sets = list[tuple[int, ...]]


def refuse(remote: Remote, **others: object) -> None:
    """Raise `SteerError` for what a remote sweep can't have beside it."""
    for name, given in others.items():
        if remote and given is not None:
            raise SteerError(
                f"{name} can't be had with remote={remote!r}: a remote sweep sends its passes from "
                "this process, and only those of the edits; leave one of the two out"
            )


def remote_effects(
    ready: Prepared, sets: Sequence[tuple[int, ...]], remote: Remote, rows: int = ROWS
) -> Iterator[tuple[Sets, Tensor]]:
    """Sets of edits and their effects [b, 1], a job at a time, in the order of the sets.

    All jobs are sent before the first is waited for. Raises what `answers` raises, and
    `NonFiniteError` if an edit makes the model overflow.
    """
    check_whole("rows", rows, least=1)
    batches = [list(sets[start : start + rows]) for start in range(0, len(sets), rows)]
    questions = [_question(ready, batch, remote) for batch in batches]
    logits_of = answers(ready.clean.model.nn, remote, questions)
    for batch, logits in zip(batches, logits_of, strict=True):
        yield batch, _effects(ready, batch, logits).unsqueeze(-1)


def _question(ready: Prepared, batch: Sets, remote: Remote) -> Question:
    clean, changes = ready.clean, ready.changes
    model, keep = clean.model, 0 if ready.metric.every else 1
    members = [(row, i) for row, one in enumerate(batch, start=1) for i in one]
    index = [i for _, i in members]
    change = Added(
        amount=changes.amount[:, index].T.contiguous(),
        rows=changes.rows[index],
        row=torch.tensor([row for row, _ in members]),
        scale=changes.scale,
    )
    ids = clean.ids.expand(len(batch) + 1, -1).contiguous()
    options = Takes.of(model.module).options(cached=False, keep=keep)
    where = [host_of(remote), model.name, model.fingerprint, model.dtype, str(clean.site.hookpoint)]
    scale = "none" if change.scale is None else change.scale
    parts = (change.amount, change.rows, change.row, scale)

    def send(asked: dict[str, Any]) -> tuple[Any, Tensor | None]:
        with model.lock:
            return added(model.nn, ids, clean.site, change, options, keep, asked)

    return Question(
        of=f"sweep of {clean.site.hookpoint}, prompt {ready.number + 1}, {len(batch)} rows",
        digest=digest_of(where, keep, ids, *parts),
        send=send,
    )


def _effects(ready: Prepared, batch: Sets, logits: Tensor) -> Tensor:
    """Change of the metric, [b], from logits [1 + b, p, V] whose first row is clean."""
    clean, every = ready.clean, ready.metric.every
    logits = logits.to(clean.ids.device)
    clean.check(ready.deltas(batch), logits[1:])
    reference = Reference.of(logits[0], clean.ids, 0, every)
    with torch.inference_mode():
        return ready.metric.change(logits[1:], reference)

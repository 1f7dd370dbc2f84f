"""A sweep's edited passes on a server: one job a batch of rows, of which the first is clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from steer.effects.passes.copies import Copies, run_copies
from steer.effects.sweep.prepared import Deltas, Prepared
from steer.lm.passes.added import Added, Dense
from steer.lm.remote import Remote

ROWS = 32
"""Edited rows of a job."""
Sets = list[tuple[int, ...]]


def remote_effects(
    ready: Prepared,
    sets: Sequence[tuple[int, ...]],
    remote: Remote,
    *,
    deltas: Deltas | None = None,
    draws: int = 1,
) -> Iterator[tuple[Sets, Tensor]]:
    """`effects_in_batches`, a job a batch, in the order of the sets.

    All jobs are sent before the first is waited for. Raises what `run_copies` raises.
    """
    size = max(1, ROWS // draws)
    batches = [list(sets[start : start + size]) for start in range(0, len(sets), size)]
    several = (_copies(ready, batch, deltas, draws) for batch in batches)
    effects = run_copies(ready.clean.model, several, remote)
    for batch, values in zip(batches, effects, strict=True):
        yield batch, values.view(len(batch), draws)


def _copies(ready: Prepared, batch: Sets, deltas: Deltas | None, draws: int) -> Copies[Tensor]:
    purpose = "sweep of" if deltas is None else "controls at"
    rows = draws * len(batch)
    return Copies(
        clean=ready.clean,
        rows=rows,
        change=_edits(ready, batch) if deltas is None else Dense(deltas(batch)),
        every=ready.metric.every,
        of=f"{purpose} {ready.clean.site.hookpoint}, prompt {ready.number + 1}, {rows} rows",
        then=ready.change,
    )


def _edits(ready: Prepared, batch: Sets) -> Added:
    """A row of the decoder and an amount a token for each edit; the first row has none."""
    changes = ready.changes
    members = [(row, i) for row, one in enumerate(batch, start=1) for i in one]
    index = [i for _, i in members]
    return Added(
        amount=changes.amount[:, index].T.contiguous(),
        rows=changes.rows[index],
        row=torch.tensor([row for row, _ in members]),
        scale=changes.scale,
    )

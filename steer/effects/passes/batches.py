"""Many sets of edits of one prompt as rows of batches that fit a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from steer.maths.memory import Ration, measured

Set = Sequence[int]
_ENOUGH_TOKENS = {"cpu": 2048}
"""Rows × tokens from which a larger batch is no faster."""


def in_rows(
    run: Callable[[list[Set]], Tensor],
    sets: Sequence[Set],
    starts: Sequence[int],
    length: int,
    device: torch.device,
    budget: int,
) -> Tensor:
    """`run` of every set, [sets, ...], in their order.

    run: from b sets to a result [b, ...]. starts: the first of the prompt's `length` positions that
    each set changes; those that start together run together. budget: bytes at the peak of a batch.
    """
    waiting = sorted(range(len(sets)), key=starts.__getitem__)
    enough = _ENOUGH_TOKENS.get(device.type, 2**16)
    ration, found = Ration(budget), dict[int, Tensor]()
    while waiting:
        tokens = max(1, length - starts[waiting[0]])
        size = max(1, min(ration.rows, enough // tokens))
        batch, waiting = waiting[:size], waiting[size:]
        with measured(device) as used:
            results = run([sets[number] for number in batch])
        ration.took(len(batch), used.bytes)
        found |= dict(zip(batch, results.unbind(0), strict=True))
    return torch.stack([found[number] for number in range(len(sets))])

"""Many sets of edits of one prompt as rows of batches that fit a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from steer.maths.memory import Ration, measured

Set = Sequence[int]
_ENOUGH_TOKENS = {"cpu": 2048}
"""Rows × tokens from which a larger batch is no faster; smaller ones start later in the prompt."""


def in_batches(
    run: Callable[[list[int]], Tensor],
    starts: Sequence[int],
    length: int,
    device: torch.device,
    budget: int,
    *,
    rows: int = 1,
    most_tokens: int | None = None,
) -> Iterator[tuple[list[int], Tensor]]:
    """Numbers of some sets, and what `run` gave of them; those that start together run together.

    run: from the numbers of b sets to a result [b · rows, ...]. starts: the first of the prompt's
    `length` positions that each set changes. budget: bytes at the peak of a batch, which has one
    set at least. most_tokens: of a batch, if not what is enough on the device.
    """
    enough = most_tokens or _ENOUGH_TOKENS.get(device.type, 2**16)
    waiting = sorted(range(len(starts)), key=starts.__getitem__)
    ration = Ration(budget)
    while waiting:
        tokens = max(1, length - starts[waiting[0]])
        size = max(1, min(ration.rows, enough // tokens) // rows)
        batch, waiting = waiting[:size], waiting[size:]
        with measured(device) as used:
            results = run(batch)
        ration.took(len(batch) * rows, used.bytes)
        yield batch, results


def in_rows(
    run: Callable[[list[Set]], Tensor],
    sets: Sequence[Set],
    starts: Sequence[int],
    length: int,
    device: torch.device,
    budget: int,
) -> Tensor:
    """`run` of every set, [sets, ...], in their order; see `in_batches`."""
    by_set: dict[int, Tensor] = {}

    def run_numbered(numbers: list[int]) -> Tensor:
        return run([sets[number] for number in numbers])

    for batch, results in in_batches(run_numbered, starts, length, device, budget):
        by_set |= dict(zip(batch, results.unbind(0), strict=True))
    return torch.stack([by_set[number] for number in range(len(sets))])

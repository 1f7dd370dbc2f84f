"""Two forecasts that were right and two that were wrong, drawn by a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from apps.studies.forecasts.drawn import drawn
from apps.studies.forecasts.score import World, overlap, top
from dictionaries.beside.forecast import Bounds

RIGHT, WRONG = 0.5, 0.1
"""Overlap of the ten tokens from which on, and up to which, a forecast of them was so."""
TOLD = 5


def examples(
    world: World, within: Bounds, token: Callable[[int], str], width: int, *, seed: int = 0
) -> list[dict[str, Any]]:
    """At the middle length.

    Right: half of the tokens or more, and KL within its interval. Wrong: KL outside of it, or at
    most one token.
    """
    share = len(world.exact.kl) // 2
    said = top(world.changes(share)["both"], world.unembedding)
    true = top(world.exact.changes[share].float().mean(0), world.unembedding)
    shared = overlap(said, true)
    kl, exact = world.neutral.kl[share, 0], world.exact.kl[share].mean(0)
    gap = (exact / kl).log()
    inside = (gap >= within[0]) & (gap <= within[1])
    kinds = {
        "right": inside & (shared >= RIGHT),
        "wrong": ~inside | (shared <= WRONG),
    }
    features = drawn(width)["scored"].features
    generator = torch.Generator().manual_seed(seed)

    def row(verdict: str, number: int, of: Tensor) -> dict[str, Any]:
        low, high = torch.tensor(within).exp().tolist()
        value = kl[number].item()
        return {
            "example": verdict,
            "of": f"{int(of.sum())} of {len(of)}",
            "feature": features[number],
            "kl": [round(value * factor, 3) for factor in (1.0, low, high)],
            "exact kl": round(exact[number].item(), 3),
            "promoted": [token(int(token_id)) for token_id in said[number, :TOLD]],
            "exact": [token(int(token_id)) for token_id in true[number, :TOLD]],
            "overlap": round(shared[number].item(), 2),
        }

    return [
        row(verdict, int(number), of)
        for verdict, of in kinds.items()
        for number in _some(of.nonzero().flatten(), generator)
    ]


def _some(places: Tensor, generator: torch.Generator) -> Tensor:
    return places[torch.randperm(len(places), generator=generator)[:2]]

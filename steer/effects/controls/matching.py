"""Features to compare edited ones with: about as dense, and how dense they are.

A control is as good as its match: a dictionary may have no feature nearly as dense as the edited
one, so every result that has such controls says how dense both are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dictionaries.dictionary import Dictionary
from steer.effects.passes.changes import encode_clean
from steer.effects.passes.clean import Clean


@dataclass(frozen=True)
class Like:
    """A feature and its density: the share of tokens at which it is active."""

    feature: int
    density: float


@dataclass(frozen=True)
class Matched:
    """Features in place of edited ones. density: of the edited, the mean if there are several."""

    others: tuple[Like, ...]
    density: float


def matched_features(
    clean: Clean, dictionary: Dictionary, edited: Sequence[int], draws: int, seed: int
) -> Matched | None:
    """Features about as dense as the edited ones: drawn from the 4 · draws nearest in log density.

    Density is the statistics' if there are any, else that on the prompt. None if no feature is
    edited; fewer than `draws` if the dictionary has no more that are ever active.
    """
    if not edited:
        return None
    statistics = dictionary.statistics
    density = (
        (encode_clean(clean, dictionary) != 0).float().mean(0).cpu()
        if statistics is None
        else statistics.density
    ).double()
    wanted = density[list(edited)].mean()
    distance = (density.clamp(min=1e-9).log() - wanted.clamp(min=1e-9).log()).abs()
    distance[list(edited)] = torch.inf
    distance[density == 0] = torch.inf
    near = distance.argsort(stable=True)[: 4 * draws]
    near = near[distance[near].isfinite()]
    generator = torch.Generator().manual_seed(seed)
    drawn = near[torch.randperm(len(near), generator=generator)[:draws]].tolist()
    others = tuple(Like(feature, density[feature].item()) for feature in drawn)
    return Matched(others, wanted.item())

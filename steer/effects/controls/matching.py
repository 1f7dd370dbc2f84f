"""Features to compare edited ones with: about as dense, and how dense they are.

A control is as good as its match: a dictionary may have no feature nearly as dense as the edited
one, so every result that has such controls says how dense both are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
    density = densities(clean, dictionary)
    wanted = density[list(edited)].mean().item()
    return Matched(as_dense(density, wanted, draws, seed, without=edited), wanted)


def densities(clean: Clean, dictionary: Dictionary) -> Tensor:
    """Of every feature [width], float64: the statistics' if there are any, else on the prompt."""
    if dictionary.statistics is not None:
        return dictionary.statistics.density.double()
    return (encode_clean(clean, dictionary) != 0).float().mean(0).cpu().double()


def as_dense(
    density: Tensor, wanted: float, draws: int, seed: int, without: Sequence[int] = ()
) -> tuple[Like, ...]:
    """Features drawn from the 4 · draws that are nearest in log density [width], but `without`.

    Fewer than `draws` if no more are ever active.
    """
    target = density.new_tensor(wanted)
    distance = (density.clamp(min=1e-9).log() - target.clamp(min=1e-9).log()).abs()
    distance[list(without)] = torch.inf
    distance[density == 0] = torch.inf
    near = distance.argsort(stable=True)[: 4 * draws]
    near = near[distance[near].isfinite()]
    generator = torch.Generator().manual_seed(seed)
    drawn = near[torch.randperm(len(near), generator=generator)[:draws]].tolist()
    return tuple(Like(feature, density[feature].item()) for feature in drawn)

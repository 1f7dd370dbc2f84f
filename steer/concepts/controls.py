"""What an edit for a concept is compared with, all of the same size and at the same places."""

from __future__ import annotations

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.concepts.candidates import FADES, POSITIONS, Candidate, matched_at_random
from steer.edits import AddDirection, Intervention
from steer.edits.directions import Random, Vector

RANDOM = "random features"
"""Other features, each about as dense as the one it stands for."""


def arms(
    dictionary: Dictionary,
    hookpoint: str,
    chosen: Candidate,
    single: Candidate,
    *,
    difference: Tensor,
    density: Tensor,
    length: float,
    seed: int,
) -> dict[str, Intervention]:
    """The edit and its controls by name, each adding `length` to the residual.

    single: the best single feature; difference [d]: of means; density [width]: of the features.
    """
    other = matched_at_random(chosen, dictionary, density, seed)
    return {
        "edit": chosen.edit(dictionary.name, length),
        "best single feature": single.edit(dictionary.name, length),
        "difference of means": _along(hookpoint, Vector(_rounded(difference)), length),
        RANDOM: other.edit(dictionary.name, length),
        "random direction": _along(hookpoint, Random(seed), length),
    }


def _along(hookpoint: str, direction: Vector | Random, length: float) -> Intervention:
    edit = AddDirection(direction, length, positions=POSITIONS, schedule=FADES)
    return Intervention(hookpoint, [edit])


def _rounded(direction: Tensor) -> tuple[float, ...]:
    return tuple(torch.nn.functional.normalize(direction, dim=0).tolist())

"""Where features are active on a text: streamed, so that all features' activations never coexist.

A dictionary's features are active where they are above zero. A direction that nobody trained is
above zero half of the time, so to compare them it is given a threshold that makes it as rare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.interpretation.detectors import Activity


@torch.inference_mode()
def find_activity(
    dictionary: Dictionary,
    activations: Tensor,
    keep: Tensor,
    heldout: Tensor,
    *,
    threshold: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Activity:
    """Positions where features exceed `threshold` [width] (0 if None).

    activations [contexts, length, d]; keep [contexts, length]: positions that count; heldout
    [contexts]: contexts that judge, the others choose.
    """
    length = activations.shape[1]
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for start, features in _encoded(dictionary, activations):
        above = features > (0 if threshold is None else threshold)
        above &= keep[start : start + len(features)].unsqueeze(-1)
        position, feature = above.flatten(0, 1).nonzero(as_tuple=True)
        value = features.flatten(0, 1)[position, feature]
        parts.append((feature.int(), (position + start * length).int(), value))
        if progress:
            progress(min(start + len(features), len(activations)), len(activations))
    feature, position, value = (torch.cat(part) for part in zip(*parts, strict=True))
    order = feature.argsort(stable=True)
    judges = heldout.unsqueeze(1) & keep
    return Activity(
        feature=feature[order],
        position=position[order],
        value=value[order],
        features=dictionary.width,
        fit=(keep & ~judges).flatten(),
        heldout=judges.flatten(),
    )


@torch.inference_mode()
def matching_threshold(dictionary: Dictionary, activations: Tensor, density: Tensor) -> Tensor:
    """The threshold [width] above which each feature is on a share `density` [width] of [n, d]."""
    features = dictionary.encode(activations.float())[0]
    ordered = features.sort(dim=0, descending=True).values
    place = (density * len(activations)).round().long().clamp(0, len(activations) - 1)
    return ordered.gather(0, place.unsqueeze(0)).squeeze(0)


def _encoded(
    dictionary: Dictionary, activations: Tensor, batch: int = 16
) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(activations), batch):
        yield start, dictionary.encode(activations[start : start + batch].float())[0]

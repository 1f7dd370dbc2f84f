"""Which of a site's activations are trained on, and which are judged on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from apps.training.recipe import Recipe
from dictionaries.training.activations import ActivationStore, keep_mask


@dataclass(frozen=True, eq=False)
class KeptActivations:
    """What a site's dictionary is trained and judged on.

    train, heldout [n, d]: kept positions only, in bf16.
    keep [contexts, length]: which positions are kept; cutoff: their largest norm.
    """

    train: Tensor
    heldout: Tensor
    keep: Tensor
    cutoff: float


def kept_activations(recipe: Recipe, site: str, store: ActivationStore) -> KeptActivations:
    """Split a site's activations, leaving out first tokens and outlier norms."""
    activations, contexts = store.mapped(site), store.contexts
    norms = torch.cat([part.float().norm(dim=-1) for part in activations.split(64)])
    keep, cutoff = keep_mask(norms, recipe.outlier_medians)
    parts = {}
    for name, rows in (("train", ~contexts.heldout), ("heldout", contexts.heldout)):
        chosen = (keep & rows.unsqueeze(1)).flatten().nonzero().flatten()
        parts[name] = activations.flatten(0, 1)[chosen]
    return KeptActivations(**parts, keep=keep, cutoff=cutoff)

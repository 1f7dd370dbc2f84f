"""What labels are made from: contexts of a recipe's corpus, and a site's activations there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.training.recipe import Recipe
from apps.training.train import prepare
from dictionaries.dictionary import Dictionary
from dictionaries.training.activations import ActivationStore, Contexts, keep_mask
from steer.disk.cache import cache_folder
from steer.errors import DictionaryError
from steer.jobs.harvest import harvest
from steer.progress import Progress


@dataclass(frozen=True, eq=False)
class Reading:
    """Contexts that detectors are chosen and judged on; n contexts.

    tokens, keep [n, length]; activations [n, length, d]; heldout [n]: contexts that judge.
    """

    tokens: Tensor
    activations: Tensor
    keep: Tensor
    heldout: Tensor


def read(store: ActivationStore, site: str, keep: Tensor, *, fit: int, heldout: int) -> Reading:
    """The store's first `fit` training contexts and first `heldout` held-out ones."""
    contexts = store.contexts
    rows = _rows(contexts, fit, heldout)
    return Reading(
        tokens=contexts.tokens[rows],
        activations=store.mapped(site)[rows],
        keep=keep[rows],
        heldout=contexts.heldout[rows],
    )


def _rows(contexts: Contexts, fit: int, heldout: int) -> Tensor:
    chosen = (~contexts.heldout).nonzero().flatten()[:fit]
    judges = contexts.heldout.nonzero().flatten()[:heldout]
    return torch.cat([chosen, judges]).sort().values


def token_texts(tokenizer: Any, size: int) -> list[str]:
    """The text of every token id."""
    return tokenizer.batch_decode([[i] for i in range(size)])


def read_recipe(
    dictionary: Dictionary,
    recipe: Recipe,
    *,
    work: Path | None,
    fit: int,
    heldout: int,
    progress: Progress,
) -> tuple[Reading, Any]:
    """Contexts of the recipe's corpus at the dictionary's site, and the tokenizer.

    Only these contexts are harvested, and kept in `work`.
    Raises `DictionaryError` if the recipe does not harvest the dictionary's site.
    """
    site = str(dictionary.config.hookpoint)
    if site not in recipe.sites:
        raise DictionaryError(
            f"recipe {recipe.name} harvests {', '.join(recipe.sites)}, not {site}; give another"
        )
    work = work or cache_folder() / "training" / recipe.name
    model, contexts = prepare(recipe, work, progress)
    store = ActivationStore(work / f"labels-{site}-{fit}-{heldout}", {site: dictionary.config.d_in})
    harvest(model, contexts.only(_rows(contexts, fit, heldout)), store, progress=progress)
    activations = store.mapped(site)
    norms = torch.cat([part.float().norm(dim=-1) for part in activations.split(64)])
    keep, _ = keep_mask(norms, recipe.outlier_medians)
    return read(store, site, keep, fit=fit, heldout=heldout), model.tokenizer

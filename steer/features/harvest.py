"""Activations of a model on many contexts, into an `ActivationStore`; resumed where it stopped."""

from __future__ import annotations

import torch

from dictionaries.training.activations import ActivationStore, Contexts
from steer.lm.language_model import LanguageModel
from steer.progress import Progress


def harvest(
    model: LanguageModel,
    contexts: Contexts,
    store: ActivationStore,
    *,
    batch: int = 16,
    progress: Progress | None = None,
) -> None:
    """Run every context once and store all the store's sites, in one pass.

    contexts: tokens [n, length], without padding.
    """
    store.create(contexts)
    total = len(contexts.tokens)
    for start in range(store.done, total, batch):
        ids = contexts.tokens[start : start + batch].long().to(model.device)
        streams = model.collect(ids, torch.ones_like(ids), list(store.sites))
        store.write(
            start, {site: value.to(torch.bfloat16).cpu() for site, value in streams.items()}
        )
        if progress:
            progress("harvesting", min(start + batch, total), total)

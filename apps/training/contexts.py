"""From corpora to fixed-length token contexts, mixed in the recipe's shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.corpora import documents
from apps.training.recipe import Recipe
from dictionaries.training.activations import Contexts
from steer.progress import Progress


def build_contexts(
    recipe: Recipe, tokenizer: Any, cache: Path, progress: Progress | None = None
) -> Contexts:
    """Every source's share of contexts, shuffled together.

    A context is `recipe.context` consecutive tokens of one document; a document's last, shorter
    piece is left out. Whole documents are held out, so that no held-out context continues one
    that was trained on. A source that is too small gives what it has.
    """
    total = recipe.tokens // recipe.context
    tokens: list[Tensor] = []
    source: list[int] = []
    heldout: list[bool] = []
    for number, (name, share) in enumerate(recipe.corpora.items()):
        if progress:
            progress(f"reading {name}", number, len(recipe.corpora))
        wanted = round(total * share)
        for count, (held, context) in enumerate(_contexts(name, recipe, tokenizer, cache)):
            if count == wanted:
                break
            tokens.append(context)
            source.append(number)
            heldout.append(held)
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(recipe.seed))
    return Contexts(
        tokens=torch.stack(tokens)[order],
        source=torch.tensor(source, dtype=torch.uint8)[order],
        heldout=torch.tensor(heldout)[order],
        sources=tuple(recipe.corpora),
    )


def _contexts(
    name: str, recipe: Recipe, tokenizer: Any, cache: Path
) -> Iterator[tuple[bool, Tensor]]:
    every = round(1 / recipe.heldout_share)
    for number, text in enumerate(documents(name, cache)):
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        pieces = torch.tensor(ids, dtype=torch.int32).split(recipe.context)
        for piece in pieces:
            if len(piece) == recipe.context:
                yield number % every == every - 1, piece

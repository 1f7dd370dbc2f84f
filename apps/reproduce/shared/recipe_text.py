"""Text of the shipped recipe, read once at its site: what dictionaries of it are compared on.

Rules and detectors are chosen on its training documents, and judged on documents that no dictionary
of the recipe was trained on. The contexts are the first of those that labels are made of
(`steer labels make`), whose harvest is taken where it is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.labels.reading import Reading, read_recipe
from apps.reproduce.kept.parts import digest
from apps.reproduce.shared.given import SHIPPED
from apps.training.recipe import load_recipe
from dictionaries import catalogue
from steer.progress import Progress

RECIPE = "smollm2-135m"
_FIT, _HELDOUT = 800, 400
"""Contexts of a harvest for labels."""


def recipe_text(
    fit: int, heldout: int, *, work: Path | None = None, progress: Progress
) -> tuple[Reading, Any]:
    """The first `fit` training contexts and `heldout` held-out ones, and the model's tokenizer."""
    whole, tokenizer = read_recipe(
        catalogue.load(SHIPPED),
        load_recipe(RECIPE),
        work=work,
        fit=max(fit, _FIT),
        heldout=max(heldout, _HELDOUT),
        progress=progress,
    )
    return first_of(whole, fit, heldout), tokenizer


def first_of(whole: Reading, fit: int, heldout: int) -> Reading:
    """Fewer of its contexts, those that choose first."""
    rows = torch.cat([_first(~whole.heldout, fit), _first(whole.heldout, heldout)])
    return Reading(
        tokens=whole.tokens[rows],
        activations=whole.activations[rows],
        keep=whole.keep[rows],
        heldout=whole.heldout[rows],
    )


def about(text: Reading) -> dict[str, Any]:
    """What says which text it is, as JSON."""
    judging = int(text.heldout.sum())
    return {
        "recipe": RECIPE,
        "fit": len(text.heldout) - judging,
        "heldout": judging,
        "tokens": digest({"tokens": text.tokens.tolist()}),
    }


def _first(mask: Tensor, count: int) -> Tensor:
    return mask.nonzero().flatten()[:count]

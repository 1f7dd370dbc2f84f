"""A dictionary's card: where it came from and how good it is, in one JSON file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apps.training.kept import KeptActivations
from apps.training.recipe import Recipe
from dictionaries.dictionary import Dictionary
from dictionaries.files.place import sha256
from dictionaries.files.whole import write_whole
from dictionaries.measures.quality import pca_fvu, quality, random_fvu
from steer.quality.splice_loss import SpliceLoss


def reconstruction_figures(dictionary: Dictionary, corpus: KeptActivations) -> dict[str, Any]:
    """Held-out figures, and those of PCA and of a random dictionary at equal L0."""
    figures = quality(dictionary, corpus.heldout)
    k = max(1, round(figures.l0))
    fit = corpus.train[:: max(1, len(corpus.train) // 65_536)]
    return {
        "heldout_tokens": figures.tokens,
        "fvu": figures.fvu,
        "explained_variance": figures.explained_variance,
        "l0": figures.l0,
        "dead_share": figures.dead_share,
        "shrinkage": figures.shrinkage,
        "pca_fvu": pca_fvu(fit, corpus.heldout, k),
        "random_fvu": random_fvu(fit, corpus.heldout, dictionary.width, k),
    }


def build_card(
    recipe: Recipe,
    dictionary: Dictionary,
    corpus: KeptActivations,
    figures: dict[str, Any],
    loss: SpliceLoss,
    fingerprint: str,
) -> dict[str, Any]:
    """Everything but the checksums."""
    site = dictionary.config.hookpoint
    assert site is not None
    config = recipe.train[site]
    return {
        "name": dictionary.name,
        "hookpoint": site,
        "model": recipe.model,
        "fingerprint": fingerprint,
        "architecture": dictionary.architecture,
        "width": dictionary.width,
        "d_in": dictionary.config.d_in,
        **figures,
        "delta_ce": loss.delta,
        "ce_clean": loss.clean,
        "ce_spliced": loss.spliced,
        "ce_mean_ablated": loss.mean_ablated,
        "ce_zero_ablated": loss.zero_ablated,
        "ce_recovered": loss.recovered,
        "ce_tokens": loss.tokens,
        "ce_dtype": loss.dtype,
        "train_tokens": len(corpus.train),
        "samples_seen": config.samples,
        "norm_cutoff": corpus.cutoff,
        "excluded": (
            f"the first token of each context and tokens with a residual norm above "
            f"{recipe.outlier_medians:g} medians (massive activations) are left out of training, "
            "statistics, FVU, L0 and the splice"
        ),
        "corpora": recipe.corpora,
        "contexts_from": "permissively licensed corpora only",
        "harvest_dtype": recipe.harvest_dtype,
        "context": recipe.context,
        "seed": recipe.seed,
        "train": config.to_dict(),
    }


def write_card(card: dict[str, Any], folder: Path) -> None:
    """Write card.json with the sha256 of the files beside it, but for labels, which may grow."""
    files = sorted(p for p in folder.iterdir() if p.name not in ("card.json", "labels.jsonl"))
    card = {**card, "sha256": {path.name: sha256(path) for path in files}}
    write_whole(folder / "card.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")

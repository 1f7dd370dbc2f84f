"""What to hold a trained dictionary against, at its own site and with its own number of active
features: principal components, the site's own axes, and directions that nobody trained.

All of them keep the k largest features of a token (`TopK`), k being the trained dictionary's L0, so
that a single feature of theirs is as much of a choice as a single feature of the trained one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from apps.reproduce.shared import texts
from dictionaries.architectures import TopK
from dictionaries.baselines import neurons, pca, random_directions
from dictionaries.dictionary import Dictionary
from dictionaries.training.activations import keep_mask

if TYPE_CHECKING:
    from steer.model import Model

_LENGTH = 64
_OUTLIER_MEDIANS = 4.0


def site_activations(model: Model, hookpoint: str, passages: int, seed: int = 0) -> Tensor:
    """Activations [n, d] at a site on natural text, without first tokens and massive ones."""
    streams = []
    for passage in texts.passages(model, passages, _LENGTH, seed + 1):
        ids, mask = model.tokenize([passage.text])
        (x,) = model.collect(ids, mask, [hookpoint]).values()
        streams.append(x[0].float().cpu())
    stacked = torch.stack(streams)
    mask, _ = keep_mask(stacked.norm(dim=-1), _OUTLIER_MEDIANS)
    return stacked[mask]


def baselines(trained: Dictionary, activations: Tensor, k: int, seed: int = 0) -> list[Dictionary]:
    """Principal components, neurons and random directions with k features a token.

    All read x minus its mean: the mean is no feature of a token.
    """
    d, site = trained.config.d_in, trained.config.hookpoint
    directions = pca(activations, hookpoint=site)
    mean = directions.b_dec
    untrained = random_directions(d, trained.width, seed=seed, hookpoint=site)
    return [
        top(centred(basis, mean), k, name)
        for name, basis in (
            ("pca", directions),
            ("neurons", neurons(d, hookpoint=site)),
            ("random directions", untrained),
        )
    ]


def centred(dictionary: Dictionary, mean: Tensor) -> Dictionary:
    """The same, reading x − mean [d] and writing it back."""
    return replace(dictionary, b_enc=-(mean @ dictionary.W_enc), b_dec=mean)


def top(dictionary: Dictionary, k: int, name: str) -> TopK:
    """The same weights, with only the k largest features of a token active."""
    return TopK(
        dictionary.W_enc,
        dictionary.b_enc,
        dictionary.W_dec,
        dictionary.b_dec,
        dictionary.config,
        name,
        k=min(k, dictionary.width),
    )


def with_rows(trained: Dictionary, rows: Tensor, name: str) -> Dictionary:
    """The trained encoder writing other rows [width, d] of the trained norms: equal edits ‖Δx‖."""
    norms = trained.W_dec.norm(dim=-1, keepdim=True)
    unit = rows / rows.norm(dim=-1, keepdim=True)
    return replace(trained, W_dec=unit * norms, name=name)


def random_rows(trained: Dictionary, seed: int = 0) -> Dictionary:
    """Trained encoder, random decoder."""
    rows = torch.randn(trained.W_dec.shape, generator=torch.Generator().manual_seed(seed))
    return with_rows(trained, rows.to(trained.W_dec), "trained encoder, random decoder")


def shuffled_rows(trained: Dictionary, seed: int = 0) -> Dictionary:
    """Trained encoder, each feature with another feature's decoder row."""
    order = torch.randperm(trained.width, generator=torch.Generator().manual_seed(seed))
    return with_rows(trained, trained.W_dec[order], "trained encoder, shuffled decoder")


def with_gain(dictionary: Dictionary, activations: Tensor) -> Dictionary:
    """Decoder rows times the one number that fits best: unit rows of an overcomplete dictionary
    that nobody trained add up to several times x."""
    x = activations - dictionary.b_dec
    written = dictionary.encode(activations)[0] @ dictionary.W_dec
    gain = (x * written).sum() / written.square().sum()
    return replace(dictionary, W_dec=dictionary.W_dec * gain)

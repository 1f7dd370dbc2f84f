"""Dictionaries that nobody trained, for controls: neurons, PCA, ICA, random directions.

An effect that a random direction or a neuron has as well says little of a learned feature, so the
baselines are of the same class and go through the same code (Cunningham et al. 2023, section 3).
Features are not negative, so an axis of a basis becomes two: feature i is its positive part and
feature n + i its negative part, and both together reconstruct exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.errors import DictionaryError
from dictionaries.extras import need


def neurons(d: int, *, hookpoint: str | None = None, model: str | None = None) -> ReLU:
    """The site's own axes: feature i is unit i, feature d + i its negative part."""
    return _basis(torch.eye(d), torch.eye(d), torch.zeros(d), "neurons", hookpoint, model)


def pca(
    activations: Tensor,
    components: int | None = None,
    *,
    hookpoint: str | None = None,
    model: str | None = None,
) -> ReLU:
    """The principal directions of activations [n, d], largest variance first; all d if None."""
    x, mean = _centre(activations, components)
    rows = torch.linalg.eigh(x.T @ x).eigenvectors.T.flip(0)[:components].contiguous()
    return _basis(rows.T, rows, mean, "pca", hookpoint, model)


def ica(
    activations: Tensor,
    components: int | None = None,
    *,
    seed: int = 0,
    iterations: int = 500,
    hookpoint: str | None = None,
    model: str | None = None,
) -> ReLU:
    """Independent components of activations [n, d] by FastICA; decoder rows have norm 1.

    iterations: at most; scikit-learn warns if they were too few to converge.
    """
    need("sklearn")
    from sklearn.decomposition import FastICA

    x, mean = _centre(activations, components)
    fitted = FastICA(components, whiten="unit-variance", random_state=seed, max_iter=iterations)
    fitted.fit(x.numpy())
    rows = torch.from_numpy(fitted.mixing_.T)
    norms = rows.norm(dim=-1)
    encoder = torch.from_numpy(fitted.components_.T) * norms
    return _basis(encoder, rows / norms[:, None], mean, "ica", hookpoint, model)


def random_directions(
    d: int,
    width: int,
    *,
    seed: int = 0,
    hookpoint: str | None = None,
    model: str | None = None,
) -> ReLU:
    """Unit vectors drawn uniformly; feature i is the positive part of x along vector i."""
    rows = torch.randn(width, d, generator=torch.Generator().manual_seed(seed))
    rows /= rows.norm(dim=-1, keepdim=True)
    config = DictionaryConfig(d, width, hookpoint, model)
    return ReLU(
        rows.T.contiguous(), torch.zeros(width), rows, torch.zeros(d), config, f"random/{seed}"
    )


def _basis(
    encoder: Tensor, rows: Tensor, mean: Tensor, name: str, hookpoint: str | None, model: str | None
) -> ReLU:
    """Both signs of coordinates (x − mean) @ encoder [d, n], written along rows [n, d]."""
    W_enc = torch.cat([encoder, -encoder], dim=1)
    b_enc = -(mean.to(W_enc.dtype) @ W_enc)
    W_dec = torch.cat([rows, -rows])
    config = DictionaryConfig(W_enc.shape[0], W_enc.shape[1], hookpoint, model)
    return ReLU(W_enc.float(), b_enc.float(), W_dec.float(), mean.float(), config, name)


def _centre(activations: Tensor, components: int | None) -> tuple[Tensor, Tensor]:
    """Activations minus their mean, and the mean, float64."""
    n, d = activations.shape
    wanted = d if components is None else components
    if not 1 <= wanted <= min(n, d):
        raise DictionaryError(
            f"{wanted} components can't be found in {n} activations of width {d}; "
            f"allowed: 1 to {min(n, d)}"
        )
    x = activations.double()
    mean = x.mean(dim=0)
    return x - mean, mean

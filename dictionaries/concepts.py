"""Dictionaries of labelled concepts, for controls: difference of means and linear probes.

With labels at hand, a supervised direction is what a learned feature has to beat. Each concept is
two features, so that both of its sides can be read and written: feature i is how far x lies on the
concept's side of the boundary, in units of the residual, and feature c + i how far on the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.errors import DictionaryError
from dictionaries.extras import need


def difference_of_means(
    activations: Tensor,
    labels: Tensor,
    *,
    hookpoint: str | None = None,
    model: str | None = None,
) -> ReLU:
    """Along the difference of the classes' means, from their midpoint (Marks & Tegmark 2023).

    activations [n, d]; labels [n] or, for c concepts, [n, c], booleans: whether it has the concept.
    Raises `DictionaryError` for a concept that all or none have, or whose means are equal.
    """
    x, z = _labelled(activations, labels)
    have, lack = z / z.sum(0), ~z.bool() / (1 - z).sum(0)
    means, others = have.T @ x, lack.T @ x
    midpoints = (means + others) / 2
    return _build(means - others, midpoints, x, "difference of means", hookpoint, model)


def linear_probe(
    activations: Tensor,
    labels: Tensor,
    *,
    strength: float = 1.0,
    hookpoint: str | None = None,
    model: str | None = None,
) -> ReLU:
    """Along the weights of a logistic regression on standardised activations, from its boundary.

    Shapes and errors as `difference_of_means`. strength: 1 / weight of the L2 penalty, by
    scikit-learn. Encoder and decoder are the same direction: what probes read is what is written.
    """
    need("sklearn")
    from sklearn.linear_model import LogisticRegression

    x, z = _labelled(activations, labels)
    mean, scale = x.mean(0), x.std(0).clamp(min=1e-12)
    rows, points = [], []
    for column in z.T:
        fitted = LogisticRegression(C=strength, max_iter=1000)
        fitted.fit(((x - mean) / scale).numpy(), column.numpy())
        row = torch.from_numpy(fitted.coef_[0]) / scale
        boundary = mean - row * (fitted.intercept_[0] / row.square().sum())
        rows.append(row)
        points.append(boundary)
    return _build(torch.stack(rows), torch.stack(points), x, "linear probe", hookpoint, model)


def _build(
    rows: Tensor, points: Tensor, x: Tensor, name: str, hookpoint: str | None, model: str | None
) -> ReLU:
    """Both sides of planes through points [c, d] with normals rows [c, d]."""
    norms = rows.norm(dim=-1, keepdim=True)
    if not bool((norms > 0).all()):
        raise DictionaryError(f"{name}: a concept's direction is 0, so it has none")
    rows = rows / norms
    offsets = -(rows * points).sum(-1)
    config = DictionaryConfig(x.shape[1], 2 * len(rows), hookpoint, model)
    tensors = (
        torch.cat([rows, -rows]).T,
        torch.cat([offsets, -offsets]),
        torch.cat([rows, -rows]),
        x.mean(0),
    )
    W_enc, b_enc, W_dec, b_dec = (tensor.float().contiguous() for tensor in tensors)
    return ReLU(W_enc, b_enc, W_dec, b_dec, config, name)


def _labelled(activations: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """x [n, d] and labels [n, c] of 0 and 1, float64."""
    if activations.dim() != 2 or labels.dim() > 2 or len(labels) != len(activations):
        raise DictionaryError(
            f"activations {list(activations.shape)} and labels {list(labels.shape)} don't match; "
            "expected [n, d] and [n] or [n, concepts]"
        )
    if labels.dtype != torch.bool:
        raise DictionaryError(f"labels are {labels.dtype}: expected booleans")
    z = labels.view(len(labels), -1).double()
    for number, share in enumerate(z.mean(0).tolist()):
        if share in (0, 1):
            raise DictionaryError(
                f"concept {number} is {'everywhere' if share else 'nowhere'}: give activations "
                "with and without it"
            )
    return activations.double(), z

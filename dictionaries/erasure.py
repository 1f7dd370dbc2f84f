"""Erasing a concept from activations, so that no linear probe can find it: affine baselines.

A concept is a label of each activation. Its class means are what linear probes live on: if they
are equal, none does better than the best constant (Belrose et al. 2023, theorem 3.1). Both erasers
make them equal on the activations that they were fitted to; LEACE by the smallest change possible.

    mean projection   r(x) = x − P (x − E x)            P projects on the span of the class means
    LEACE             r(x) = x − W⁺ P_{WΣ_xz} W (x − E x),  W = Σ_xx^{−1/2}

Sources: Haghighatkhah et al. 2022; Belrose et al. 2023, equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dictionaries.errors import DictionaryError

_RANK = 1e-7
"""Directions whose share of the largest singular value is smaller are taken for rounding."""


@dataclass(frozen=True, eq=False)
class Eraser:
    """x − ((x − mean) @ read) @ write, of rank r.

    read [d, r], write [r, d], mean [d], float64: computed exactly, applied in x's own dtype.
    """

    read: Tensor
    write: Tensor
    mean: Tensor

    @property
    def rank(self) -> int:
        return self.read.shape[1]

    @property
    def matrix(self) -> Tensor:
        """[d, d] so that r(x) = x − (x − mean) @ matrix; idempotent."""
        return self.read @ self.write

    def __call__(self, x: Tensor) -> Tensor:
        """Activations [..., d] without the concept, in their own dtype."""
        centred = x.double() - self.mean.to(x.device)
        removed = (centred @ self.read.to(x.device)) @ self.write.to(x.device)
        return (x.double() - removed).to(x.dtype)


def mean_projection(activations: Tensor, labels: Tensor) -> Eraser:
    """Project the differences of the class means out, orthogonally; the overall mean stays.

    activations [n, d]; labels [n], whole numbers or booleans, or several concepts [n, c].
    Raises `DictionaryError` for a concept of one class.
    """
    x, mean, z = _centred(activations, labels)
    means = (z.T @ x) / z.square().sum(0)[:, None]  # rows are combinations of class means
    basis = _span(means.T)
    return Eraser(basis, basis.T, mean)


def leace(activations: Tensor, labels: Tensor) -> Eraser:
    """LEast-squares Concept Erasure: the covariance with the labels becomes 0.

    Shapes and errors as `mean_projection`. No shrinkage: give more activations than d.
    """
    x, mean, z = _centred(activations, labels)
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    live = values > values[-1] * _RANK**2
    vectors, scale = vectors[:, live], values[live].sqrt()
    whiten, colour = vectors / scale, vectors * scale  # W = whiten @ vectors.T, W⁺ = colour @ ...
    basis = _span(whiten.T @ (x.T @ z / len(x)))
    return Eraser(whiten @ basis, basis.T @ colour.T, mean)


def _span(columns: Tensor) -> Tensor:
    """An orthonormal basis [d, r] of the columns' span [d, c]."""
    left, values, _ = torch.linalg.svd(columns, full_matrices=False)
    return left[:, values > values[:1] * _RANK]


def _centred(activations: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x [n, d] and one-hot labels z [n, classes], both minus their means, and the mean of x."""
    if activations.dim() != 2 or labels.shape[:1] != activations.shape[:1] or labels.dim() > 2:
        raise DictionaryError(
            f"activations {list(activations.shape)} and labels {list(labels.shape)} don't match; "
            "expected [n, d] and [n] or [n, concepts]"
        )
    if labels.is_floating_point():
        raise DictionaryError(f"labels are {labels.dtype}: expected whole numbers or booleans")
    x = activations.double()
    hot = torch.cat([_one_hot(column) for column in labels.view(len(x), -1).T], dim=1).to(x)
    mean = x.mean(0)
    return x - mean, mean, hot - hot.mean(0)


def _one_hot(labels: Tensor) -> Tensor:
    classes = labels.unique()
    if len(classes) < 2:
        raise DictionaryError("all labels of a concept are the same: there is nothing to erase")
    return (labels[:, None] == classes).double()

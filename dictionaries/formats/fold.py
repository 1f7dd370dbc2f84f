"""From a file's conventions to the canonical form, in float64.

All four are linear, so nothing downstream has to know of them::

    subtracts_b_dec             p = (x − b_dec) W_enc + b_enc
    centred                     x is the residual minus its mean over d (TransformerLens's
                                center_writing_weights), so W_enc loses its column means
    input_scale = s             the encoder sees s·x, the decoder writes s·x̂
    rescales_by_decoder_norm    the activation is of p·‖W_dec_i‖, and decoding takes unit rows

In that order: a decoder bias is in the units that the encoder sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_CHUNK = 256


@dataclass(frozen=True)
class Conventions:
    """How a file's tensors are meant; the defaults are the canonical form."""

    subtracts_b_dec: bool = False
    centred: bool = False
    input_scale: float = 1.0
    rescales_by_decoder_norm: bool = False


def fold(tensors: dict[str, Any], conventions: Conventions) -> dict[str, Any]:
    """W_enc [d, m], b_enc [m], W_dec [m, o], b_dec [o] -> the same in canonical form.

    Other tensors (thresholds, gates) are in units that the fold keeps, and pass through.
    """
    folded = dict(tensors)
    if conventions.subtracts_b_dec:
        shift = _product(tensors["b_dec"], tensors["W_enc"])
        folded["b_enc"] = (tensors["b_enc"].double() - shift).float()
    if conventions.centred:
        means = folded["W_enc"].mean(dim=0, keepdim=True, dtype=torch.float64)
        folded["W_enc"] = (folded["W_enc"].double() - means).float()
    if conventions.input_scale != 1.0:
        scale = torch.tensor(conventions.input_scale, dtype=torch.float64)
        for name, factor in (("W_enc", scale), ("W_dec", 1 / scale), ("b_dec", 1 / scale)):
            folded[name] = _scaled(folded[name], factor)
    if conventions.rescales_by_decoder_norm:
        norms = folded["W_dec"].double().norm(dim=-1)
        inverse = torch.where(norms > 0, 1 / norms, torch.ones_like(norms))
        folded["W_enc"] = _scaled(folded["W_enc"], norms)
        folded["b_enc"] = _scaled(folded["b_enc"], norms)
        folded["W_dec"] = _scaled(folded["W_dec"], inverse[:, None])
    return folded


def _scaled(tensor: Tensor, factor: Tensor) -> Tensor:
    return (tensor.double() * factor).float()


def _product(vector: Tensor, matrix: Tensor) -> Tensor:
    """vector [d] @ matrix [d, m] in float64, without a float64 copy of the matrix."""
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for rows, part in zip(matrix.split(_CHUNK), vector.split(_CHUNK), strict=True):
        total += part.double() @ rows.double()
    return total

"""What a dictionary's features, and the residual itself, make of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.disk.remembered import remembered_tensors
from steer.maths.precision import exact

if TYPE_CHECKING:
    from steer.model import Model

_ROWS = 16


@dataclass(frozen=True, eq=False)
class Reading:
    """Of n texts, the first token of each left out.

    mean, share [n, width]: each feature's mean activation, and the share of tokens it is active at.
    residual [n, d]: mean of the site's activations; norm [n]: mean length of them.
    """

    mean: Tensor
    share: Tensor
    residual: Tensor
    norm: Tensor


def read(model: Model, dictionary: Dictionary, texts: Sequence[str], key: str) -> Reading:
    """Read texts without edits; from the cache if that was done before.

    key: identifies the dictionary by its content, see `content`.
    """
    settings = [model.fingerprint, model.dtype, key, list(texts)]
    return Reading(
        **remembered_tensors("reading", settings, lambda: _read(model, dictionary, texts))
    )


def content(dictionary: Dictionary) -> str:
    """A dictionary's name and a few of its numbers, which another of that name would not have."""
    sums = [dictionary.W_enc.double().sum().item(), dictionary.W_dec.double().abs().sum().item()]
    return f"{dictionary.name} {dictionary.width} {sums}"


def _read(model: Model, dictionary: Dictionary, texts: Sequence[str]) -> dict[str, Tensor]:
    hookpoint = model.site_of(dictionary)
    rows = _ROWS if model.can_pad else 1
    parts: list[list[Tensor]] = []
    for start in range(0, len(texts), rows):
        ids, mask = model.tokenize(list(texts[start : start + rows]))
        x = exact(model.collect(ids, mask, [hookpoint])[hookpoint])
        features = dictionary.to(x.device, x.dtype).encode_texts(x, mask.bool())[0]
        counted = (mask.cumsum(1) > 1).to(x.dtype).unsqueeze(-1)
        tokens = counted.sum(1).clamp(min=1)
        summed = (features * counted, (features != 0) * counted, x * counted)
        means = [value.sum(1) / tokens for value in summed]
        lengths = (x.norm(dim=-1, keepdim=True) * counted).sum(1) / tokens
        parts.append([value.float().cpu() for value in (*means, lengths.squeeze(-1))])
    names = ("mean", "share", "residual", "norm")
    columns = zip(*parts, strict=True)
    return {name: torch.cat(column) for name, column in zip(names, columns, strict=True)}

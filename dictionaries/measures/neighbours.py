"""Features that write nearly the same: cosines between decoder rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dictionaries.dictionary import Dictionary

_ROWS = 4096


@dataclass(frozen=True)
class Neighbour:
    """A feature, and the cosine of its decoder row with the row asked about."""

    feature: int
    cosine: float


@torch.inference_mode()
def nearest(dictionary: Dictionary, feature: int, k: int = 10) -> list[Neighbour]:
    """The k features whose decoder rows point most nearly where this one's does, nearest first.

    The feature itself and rows of zeros are left out. Rows are read part by part, so that a
    dictionary larger than memory will do. Raises `DictionaryError` for a feature out of range.
    """
    dictionary.check_features([feature])
    row = dictionary.W_dec[feature].float()
    row = row / row.norm().clamp(min=1e-30)
    cosines = torch.cat([_cosines(part.float(), row) for part in dictionary.W_dec.split(_ROWS)])
    cosines[feature] = -torch.inf
    values, index = cosines.topk(min(k, len(cosines)))
    pairs = zip(index.tolist(), values.tolist(), strict=True)
    return [Neighbour(i, value) for i, value in pairs if value > -torch.inf]


def _cosines(rows: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    norms = rows.norm(dim=-1)
    return torch.where(norms > 0, (rows @ row) / norms.clamp(min=1e-30), -torch.inf)

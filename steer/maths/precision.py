"""The one rule of precision: compute in fp32, or in the model's dtype if that is wider.

Half precision is not enough to encode with or to subtract in; a model in fp64 is measured in fp64.
"""

from __future__ import annotations

import torch
from torch import Tensor


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """What tensors of this floating dtype are computed in."""
    return torch.promote_types(dtype, torch.float32)


def exact(x: Tensor) -> Tensor:
    """x in its compute dtype; x itself if it is there already."""
    return x.to(compute_dtype(x.dtype))

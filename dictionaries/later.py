"""What the features of a cross-layer transcoder write beyond their own block."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Later:
    """The same features' rows at each later site that they write.

    hookpoints: the sites, such as `mlp_out.6`, in the order of the forward pass.
    W_dec [width, sites, d_out]: row i moves site s by its activation times `W_dec[i, s]`.
    """

    hookpoints: tuple[str, ...]
    W_dec: Tensor

    def at(self, hookpoint: str) -> Tensor:
        """Rows [width, d_out] at a site; zeros where nothing is written."""
        if hookpoint in self.hookpoints:
            return self.W_dec[:, self.hookpoints.index(hookpoint)]
        return torch.zeros_like(self.W_dec[:, 0])

    def restrict(self, index: Tensor) -> Later:
        """The rows of some features."""
        return replace(self, W_dec=self.W_dec[index])

    def to(self, device: str | torch.device | None, dtype: torch.dtype | None) -> Later:
        """On another device or in another floating dtype."""
        return replace(self, W_dec=self.W_dec.to(device=device, dtype=dtype))

"""Temporal dictionaries: what the text so far predicts of a token, and sparse features of the rest.

Attention over the codes of earlier tokens predicts a part of x; only what is left of it, the news,
is encoded sparsely. A feature at a token therefore depends on the whole text up to it.

Source: Lubana et al. 2025 (arXiv 2511.01836); sae_lens 6.54.12, `saes/temporal_sae.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from dictionaries.config import Norm
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, NotSeparableError


@dataclass(frozen=True, eq=False, repr=False)
class Temporal(Dictionary):
    """f = the k largest (all, if k is None) ReLU(u W_enc), u what n attention layers leave of x'.

    Each layer takes from u its projection on a guess g W_dec, where g = ReLU(attention) from the
    codes ReLU(u W_enc) of the tokens before. All that was taken is added back in `decode`.

    centre [d_in]: taken from x' before all else; b_enc is 0. eps: added to ‖g W_dec‖.
    W_Q, W_K [n, e, width], W_V, W_O [n, width, width], biases [n, e] and [n, width].
    """

    centre: Tensor = field(kw_only=True)
    W_Q: Tensor = field(kw_only=True)
    b_Q: Tensor = field(kw_only=True)
    W_K: Tensor = field(kw_only=True)
    b_K: Tensor = field(kw_only=True)
    W_V: Tensor = field(kw_only=True)
    b_V: Tensor = field(kw_only=True)
    W_O: Tensor = field(kw_only=True)
    b_O: Tensor = field(kw_only=True)
    heads: int = field(kw_only=True)
    k: int | None = field(kw_only=True)
    eps: float = field(kw_only=True)
    architecture: ClassVar[str] = "temporal"
    separable: ClassVar[bool] = False
    reads_texts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        n, e, m = self.W_K.shape[0], self.W_K.shape[1], self.width
        shapes = {"centre": (self.config.d_in,), "W_Q": (n, e, m), "W_K": (n, e, m)}
        shapes |= dict.fromkeys(("b_Q", "b_K"), (n, e))
        shapes |= dict.fromkeys(("W_V", "W_O"), (n, m, m))
        shapes |= dict.fromkeys(("b_V", "b_O"), (n, m))
        for name, shape in shapes.items():
            if tuple(getattr(self, name).shape) != shape:
                has = list(getattr(self, name).shape)
                raise DictionaryError(f"{name} has shape {has}, expected {list(shape)}")
        if self.heads < 1 or e % self.heads or m % self.heads:
            raise DictionaryError(f"{e} and {m} numbers can't be split into {self.heads} heads")
        if self.k is not None and not 1 <= self.k <= m:
            raise DictionaryError(f"k={self.k} is out of range: allowed 1 to {m}")

    @classmethod
    def tensor_names(cls) -> tuple[str, ...]:
        attention = ("W_Q", "b_Q", "W_K", "b_K", "W_V", "b_V", "W_O", "b_O")
        return (*super().tensor_names(), "centre", *attention)

    def activate(self, pre: Tensor) -> Tensor:
        if self.k is None:
            return pre.relu()
        values, index = pre.relu().topk(self.k, dim=-1, sorted=False)
        return torch.zeros_like(pre).scatter_(-1, index, values)

    def encode(self, x: Tensor) -> tuple[Tensor, Norm]:
        """Raises `NotSeparableError`: a token's features depend on the text before it."""
        raise NotSeparableError(
            f"{self.name or 'a temporal dictionary'} reads whole texts, since attention predicts a "
            "token from those before it, and this takes tokens one by one: it can be used in "
            "generate, logit_effect, features, check and statistics"
        )

    def encode_texts(self, x: Tensor, real: Tensor | None = None) -> tuple[Tensor, Norm]:
        """x [b, s, d_in] of whole texts; real [b, s] is False at padding -> (features, norm).

        `norm` adds the predicted part back.
        """
        normed, norm = self.normalise(x.to(self.dtype))
        left = normed - self.centre
        taken = torch.zeros_like(left)
        real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if real is None else real
        for layer in range(len(self.W_K)):
            codes = (left @ self.W_enc).relu() * real.unsqueeze(-1)
            guess = self._attend(layer, codes, real).relu() @ self.W_dec
            length = guess.norm(dim=-1, keepdim=True) + self.eps
            part = guess * ((guess * left).sum(-1, keepdim=True) / length.square())
            taken, left = taken + part, left - part
        return self.activate(left @ self.W_enc), Norm(norm.scale, norm.undo(taken))

    def _attend(self, layer: int, codes: Tensor, real: Tensor) -> Tensor:
        """From each token to the codes of those before it, [b, s, width].

        Before a text's first token stands a code of zeros, which padding counts as too.
        """
        before = pad(codes, (0, 0, 1, 0))[:, :-1]
        q, k, v = (
            (t @ w[layer].T + b[layer]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for t, w, b in (
                (codes, self.W_Q, self.b_Q),
                (before, self.W_K, self.b_K),
                (before, self.W_V, self.b_V),
            )
        )
        s = codes.shape[1]
        seen = real[:, None, None, :].expand(-1, 1, s, s).tril()
        seen = seen | torch.eye(s, dtype=torch.bool, device=codes.device)  # padding sees itself
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return mixed.transpose(1, 2).flatten(-2) @ self.W_O[layer].T + self.b_O[layer]

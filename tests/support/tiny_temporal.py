"""A tiny random temporal dictionary, and the same read token by token in plain loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dictionaries.architectures.temporal import Temporal
from dictionaries.config import DictionaryConfig, Norm
from tests.support.tiny import WIDTH, D

LAYERS, HEADS, E = 2, 4, 12


def temporal(
    hookpoint: str = "resid_post.1", *, normalisation: str = "none", k: int | None = 8
) -> Temporal:
    """Named `tiny`, as the other tiny dictionaries are."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / shape[-1] ** 0.5

    rows = normal(WIDTH, D)
    bias = normal(D)
    inner = {"W_Q": E, "W_K": E, "W_V": WIDTH, "W_O": WIDTH}
    attention: dict[str, Any] = {name: normal(LAYERS, n, WIDTH) for name, n in inner.items()}
    attention |= {f"b_{name[-1]}": normal(LAYERS, n) for name, n in inner.items()}
    return Temporal(
        W_enc=rows.T.contiguous(),
        b_enc=torch.zeros(WIDTH),
        W_dec=rows,
        b_dec=bias,
        config=DictionaryConfig(D, WIDTH, hookpoint, normalisation=normalisation),
        name="tiny",
        centre=bias,
        heads=HEADS,
        k=k,
        eps=1e-6,
        **attention,
    )


@dataclass(frozen=True, eq=False)
class TokenByToken:
    """The formulae of the paper for one text, one token and one head at a time."""

    given: Temporal

    @property
    def W_dec(self) -> Tensor:
        return self.given.W_dec

    def encode(self, x: Tensor) -> tuple[Tensor, Norm]:
        """x [1, s, d] -> features [1, s, width] and what brings the predicted part back."""
        given = self.given
        normed, norm = given.normalise(x)
        left = normed[0] - given.centre
        taken = torch.zeros_like(left)
        for layer in range(len(given.W_K)):
            codes = [(row @ given.W_enc).relu() for row in left]
            before = [torch.zeros_like(codes[0]), *codes[:-1]]
            parts = torch.stack(
                [self._part(layer, codes[t], before[: t + 1], left[t]) for t in range(len(codes))]
            )
            taken, left = taken + parts, left - parts
        features = torch.stack([self._sparse((row @ given.W_enc).relu()) for row in left])
        return features.unsqueeze(0), Norm(norm.scale, norm.undo(taken.unsqueeze(0)))

    def _part(self, layer: int, code: Tensor, before: list[Tensor], left: Tensor) -> Tensor:
        g = self.given
        mixed = []
        for head in range(g.heads):
            narrow = slice(head * E // g.heads, (head + 1) * E // g.heads)
            wide = slice(head * WIDTH // g.heads, (head + 1) * WIDTH // g.heads)
            query = (g.W_Q[layer] @ code + g.b_Q[layer])[narrow]
            keys = [(g.W_K[layer] @ each + g.b_K[layer])[narrow] for each in before]
            values = [(g.W_V[layer] @ each + g.b_V[layer])[wide] for each in before]
            scores = torch.stack([query @ key for key in keys]) / (E / g.heads) ** 0.5
            weights = scores.exp() / scores.exp().sum()
            mixed.append(sum(w * v for w, v in zip(weights, values, strict=True)))
        guess = (g.W_O[layer] @ torch.cat(mixed) + g.b_O[layer]).relu() @ g.W_dec
        return guess * (guess @ left) / (guess.norm() + g.eps) ** 2

    def _sparse(self, code: Tensor) -> Tensor:
        if self.given.k is None:
            return code
        least = code.sort(descending=True).values[self.given.k - 1]
        return torch.where(code >= least, code, 0.0)

    def decode(self, features: Tensor, norm: Norm) -> Tensor:
        return norm.undo(features @ self.given.W_dec + self.given.b_dec)

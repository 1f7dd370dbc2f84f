"""The activation rules.

All but the TopK family, matching pursuit and temporal dictionaries gate each feature on its own
pre-activation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dictionaries.architectures.temporal import Temporal
from dictionaries.config import Norm
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError, NotSeparableError


@dataclass(frozen=True, eq=False, repr=False)
class ReLU(Dictionary):
    """f = ReLU(p). Cunningham et al. 2023 (tied) and Bricken et al. 2023 (untied)."""

    architecture: ClassVar[str] = "standard"

    def activate(self, pre: Tensor) -> Tensor:
        return pre.relu()


@dataclass(frozen=True, eq=False, repr=False)
class TanhReLU(Dictionary):
    """f = tanh(ReLU(p)), at most 1. SAELens before 6.0, `activation_fns.py`."""

    architecture: ClassVar[str] = "tanh_relu"

    def activate(self, pre: Tensor) -> Tensor:
        return pre.relu().tanh()


@dataclass(frozen=True, eq=False, repr=False)
class JumpReLU(Dictionary):
    """f = p where p > threshold (strictly) and p > 0, else 0. Rajamanoharan et al. 2024b."""

    threshold: Tensor = field(kw_only=True)
    architecture: ClassVar[str] = "jumprelu"

    @classmethod
    def feature_vectors(cls) -> tuple[str, ...]:
        return ("b_enc", "threshold")

    def activate(self, pre: Tensor) -> Tensor:
        return pre.relu() * (pre > self.threshold)


@dataclass(frozen=True, eq=False, repr=False)
class BatchTopK(JumpReLU):
    """At inference one global threshold, calibrated so that L0 is k on average.

    Bussmann et al. 2024. It gates elementwise, and is written as JumpReLU, as SAELens does.
    """

    k: int = field(kw_only=True)
    architecture: ClassVar[str] = "batchtopk"


@dataclass(frozen=True, eq=False, repr=False)
class TopK(Dictionary):
    """f = the k largest ReLU(p) of each token, the rest 0. Gao et al. 2024."""

    k: int = field(kw_only=True)
    architecture: ClassVar[str] = "topk"
    separable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.k <= self.width:
            raise DictionaryError(f"k={self.k} is out of range: allowed 1 to {self.width}")

    def activate(self, pre: Tensor) -> Tensor:
        values, index = pre.relu().topk(self.k, dim=-1, sorted=False)
        return torch.zeros_like(pre).scatter_(-1, index, values)


@dataclass(frozen=True, eq=False, repr=False)
class AbsTopK(TopK):
    """f = the k entries of p of largest magnitude, with their sign, the rest 0."""

    architecture: ClassVar[str] = "abstopk"

    def activate(self, pre: Tensor) -> Tensor:
        index = pre.abs().topk(self.k, dim=-1, sorted=False).indices
        return torch.zeros_like(pre).scatter_(-1, index, pre.gather(-1, index))


@dataclass(frozen=True, eq=False, repr=False)
class GroupMax(TopK):
    """f = the largest ReLU(p) of each of k equal runs of features, the rest 0. eai-sparsify."""

    architecture: ClassVar[str] = "groupmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.k:
            raise DictionaryError(f"{self.width} features can't be split into k={self.k} groups")

    def activate(self, pre: Tensor) -> Tensor:
        groups = pre.relu().unflatten(-1, (self.k, -1))
        values, index = groups.max(dim=-1, keepdim=True)
        return torch.zeros_like(groups).scatter_(-1, index, values).flatten(-2)


@dataclass(frozen=True, eq=False, repr=False)
class Gated(Dictionary):
    """f = [p + b_gate > 0] * ReLU(exp(r_mag) p + b_mag), p = x' W_enc. Rajamanoharan 2024a.

    `b_enc` is 0 in the published layout; a folded decoder bias lands there.
    """

    b_gate: Tensor = field(kw_only=True)
    b_mag: Tensor = field(kw_only=True)
    r_mag: Tensor = field(kw_only=True)
    architecture: ClassVar[str] = "gated"

    @classmethod
    def feature_vectors(cls) -> tuple[str, ...]:
        return ("b_enc", "b_gate", "b_mag", "r_mag")

    def activate(self, pre: Tensor) -> Tensor:
        magnitude = (pre * self.r_mag.exp() + self.b_mag).relu()
        return magnitude * (pre + self.b_gate > 0)


@dataclass(frozen=True, eq=False, repr=False)
class MatchingPursuit(Dictionary):
    """Features one after another: the row that fits best what is left of x − b_dec takes its part.

    At most `steps` times, until the rest is shorter than `residual_threshold` (if that is not 0)
    or, with `stops_on_repeat`, a step finds no new feature. Rows are tied: W_enc is W_dec
    transposed, b_enc is 0. Mallat & Zhang 1993; sae_lens 6.54.12, `matching_pursuit_sae.py`.
    """

    steps: int = field(kw_only=True)
    residual_threshold: float = field(kw_only=True)
    stops_on_repeat: bool = field(kw_only=True)
    architecture: ClassVar[str] = "matching_pursuit"
    separable: ClassVar[bool] = False

    def activate(self, pre: Tensor) -> Tensor:
        raise NotSeparableError(
            "matching pursuit finds features in x itself, not in its pre-activations: use encode"
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Norm]:
        """x [..., d_in] -> (features [..., width], norm), in the dictionary's dtype."""
        normed, norm = self.normalise(x.to(self.dtype))
        left = (normed - self.b_dec).reshape(-1, self.config.d_in)
        features = left.new_zeros(len(left), self.width)
        going = torch.ones(len(left), 1, dtype=torch.bool, device=left.device)
        for _ in range(self.steps):
            nearest = (left @ self.W_dec.T).argmax(-1, keepdim=True)
            rows = self.W_dec[nearest.squeeze(-1)]
            values = (left * rows).sum(-1, keepdim=True).relu() * going
            grown = features.scatter_add(-1, nearest, values)
            left = left - values * rows
            if self.stops_on_repeat:
                going = going & ((grown != 0) != (features != 0)).any(-1, keepdim=True)
            if self.residual_threshold > 0:
                going = going & (left.norm(dim=-1, keepdim=True) >= self.residual_threshold)
            features = grown
            if not going.any():
                break
        return features.view(*x.shape[:-1], self.width), norm


ARCHITECTURES: dict[str, type[Dictionary]] = {
    cls.architecture: cls
    for cls in (
        ReLU,
        TanhReLU,
        JumpReLU,
        BatchTopK,
        TopK,
        AbsTopK,
        GroupMax,
        Gated,
        MatchingPursuit,
        Temporal,
    )
}

__all__ = [
    "ARCHITECTURES",
    "AbsTopK",
    "BatchTopK",
    "Gated",
    "GroupMax",
    "JumpReLU",
    "MatchingPursuit",
    "ReLU",
    "TanhReLU",
    "Temporal",
    "TopK",
]

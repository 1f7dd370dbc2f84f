"""How golden files are compared, and tiny dictionaries of every architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries.architectures import AbsTopK, BatchTopK, Gated, JumpReLU, ReLU, TopK
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary

D, M = 8, 24


@pytest.fixture
def assert_agrees() -> Callable[[Tensor, Tensor], None]:
    """Equal to 1e-5 of the larger of 1 and the row's largest magnitude, as the checkers have it."""

    def check(ours: Tensor, theirs: Tensor) -> None:
        assert ours.shape == theirs.shape
        scale = theirs.double().abs().amax(dim=-1, keepdim=True).clamp(min=1.0)
        assert ((ours.double() - theirs.double()).abs() / scale).max().item() <= 1e-5

    return check


@pytest.fixture
def make() -> Callable[..., Dictionary]:
    """A seeded dictionary [8, 24] of an architecture; options go to its config."""

    def build(architecture: str, *, skip: bool = False, **options: Any) -> Dictionary:
        generator = torch.Generator().manual_seed(7)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        d_out = options.get("d_out", D)
        about: dict[str, Any] = {
            "W_enc": normal(D, M),
            "b_enc": normal(M) * 0.3,
            "W_dec": normal(M, d_out),
            "b_dec": normal(d_out),
            "config": DictionaryConfig(D, M, **options),
            "W_skip": normal(D, d_out) if skip else None,
        }
        match architecture:
            case "standard":
                return ReLU(**about)
            case "jumprelu":
                return JumpReLU(**about, threshold=normal(M).abs())
            case "batchtopk":
                return BatchTopK(**about, threshold=torch.full((M,), 0.7), k=5)
            case "topk":
                return TopK(**about, k=5)
            case "abstopk":
                return AbsTopK(**about, k=5)
            case _:
                return Gated(**about, b_gate=normal(M), b_mag=normal(M), r_mag=normal(M))

    return build


@pytest.fixture
def x() -> Tensor:
    """Sixteen tokens [16, 8]."""
    return torch.randn(16, D, generator=torch.Generator().manual_seed(11))

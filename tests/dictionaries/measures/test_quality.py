"""Figures of a dictionary on activations, against closed forms and naive sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dictionaries.architectures import ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from dictionaries.measures.quality import pca_fvu, quality, random_fvu

D = 8


@pytest.fixture
def activations() -> Tensor:
    """[300, 8] off the origin, with unequal variances."""
    noise = torch.randn(300, D, generator=torch.Generator().manual_seed(2))
    return noise * torch.arange(1, D + 1) + 5


def both_signs(gain: float = 1.0, bias: Tensor | None = None) -> ReLU:
    """Features ±x of every axis, which reconstruct gain · x + bias."""
    eye = torch.eye(D)
    b_dec = torch.zeros(D) if bias is None else bias
    rows = torch.cat([eye, -eye])
    return ReLU(rows.T, torch.zeros(2 * D), gain * rows, b_dec, DictionaryConfig(D, 2 * D))


def test_the_identity(activations: Tensor) -> None:
    figures = quality(both_signs(), activations)
    assert figures.fvu == pytest.approx(0, abs=1e-10)
    assert figures.explained_variance == pytest.approx(1)
    assert figures.shrinkage == pytest.approx(1)
    assert figures.l0 == D
    assert figures.tokens == 300


def test_the_mean_explains_nothing(activations: Tensor) -> None:
    figures = quality(both_signs(0.0, activations.mean(0)), activations)
    assert figures.fvu == pytest.approx(1, rel=1e-5)


def test_nothing_is_worse_than_the_mean(activations: Tensor) -> None:
    assert quality(both_signs(0.0), activations).fvu > 1


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.2])
def test_shrinkage_is_the_gain(gain: float, activations: Tensor) -> None:
    bias = (1 - gain) * activations.mean(0)
    figures = quality(both_signs(gain, bias), activations)
    assert figures.shrinkage == pytest.approx(gain, rel=1e-4)
    assert figures.fvu == pytest.approx((1 - gain) ** 2, rel=1e-3)


def test_dead_features(activations: Tensor) -> None:
    whole = both_signs()
    dead = replace(whole, b_enc=whole.b_enc.index_fill(0, torch.tensor([0, 3, 9]), -1e6))
    assert quality(dead, activations - 5).dead_share == pytest.approx(3 / 16)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk", "abstopk", "gated"])
@pytest.mark.parametrize("batch", [7, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_figures(
    architecture: str,
    batch: int,
    dtype: torch.dtype,
    make: Callable[..., Dictionary],
    activations: Tensor,
) -> None:
    dictionary, x = make(architecture), activations.to(dtype).float()
    figures = quality(dictionary, activations.to(dtype), batch)
    features = dictionary.encode(x)[0]
    reconstruction, mean = dictionary.reconstruct(x), x.mean(0)
    variance = (x - mean).square().sum()
    active = features != 0
    assert figures.fvu == pytest.approx(((x - reconstruction).square().sum() / variance).item())
    assert figures.l0 == pytest.approx(active.float().sum(1).mean().item())
    assert figures.dead_share == pytest.approx(1 - active.any(0).float().mean().item())
    centred = reconstruction - mean
    gamma = centred.square().sum() / (centred * (x - mean)).sum()
    assert figures.shrinkage == pytest.approx(gamma.item(), rel=1e-4)


def test_pca(activations: Tensor) -> None:
    errors = [pca_fvu(activations, activations, k) for k in (1, 2, 4, D)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(0, abs=1e-5)
    axes = torch.zeros(200, D)
    axes[torch.arange(200), torch.arange(200) % D] = torch.linspace(1, 2, 200)
    fit = torch.cat([axes, -axes])  # one principal component a token is exact
    assert pca_fvu(fit * torch.arange(1, D + 1), axes, 1) == pytest.approx(0, abs=1e-5)


def test_a_random_dictionary_is_poor_and_repeats(activations: Tensor) -> None:
    one, same, other = (random_fvu(activations, activations, 64, 4, seed) for seed in (0, 0, 1))
    assert one == same != other
    assert 0 < one < 1
    assert one > pca_fvu(activations, activations, 4)

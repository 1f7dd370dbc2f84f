"""Control dictionaries: what they find, and that they are dictionaries like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dictionaries import baselines, catalogue
from dictionaries.dictionary import Dictionary
from dictionaries.errors import DictionaryError

D = 6


def sample(n: int = 2000) -> tuple[Tensor, Tensor]:
    """Independent sources [n, 6], not Gaussian, and their mixture with a mean."""
    generator = torch.Generator().manual_seed(3)
    sources = torch.rand(n, D, generator=generator) * 2 - 1
    mixing = torch.randn(D, D, generator=generator)
    return sources, sources @ mixing + torch.arange(float(D))


BUILD: dict[str, Callable[[Tensor], Dictionary]] = {
    "neurons": lambda x: baselines.neurons(x.shape[1], hookpoint="resid_post.3"),
    "pca": lambda x: baselines.pca(x, hookpoint="resid_post.3"),
    "ica": lambda x: baselines.ica(x, hookpoint="resid_post.3"),
}


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD.keys())
def test_a_basis_reconstructs_exactly(build: Callable[[Tensor], Dictionary]) -> None:
    _, x = sample()
    dictionary = build(x)
    features = dictionary.encode(x)[0]
    assert dictionary.width == 2 * D
    assert (features >= 0).all()
    assert torch.equal((features[:, :D] > 0) & (features[:, D:] > 0), torch.zeros(len(x), D) > 0)
    torch.testing.assert_close(dictionary.reconstruct(x), x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dictionary.W_dec.norm(dim=-1), torch.ones(2 * D))


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD.keys())
def test_they_are_saved_and_loaded_like_any_other(
    build: Callable[[Tensor], Dictionary], tmp_path: Path
) -> None:
    _, x = sample()
    dictionary = build(x)
    catalogue.save(dictionary, tmp_path)
    read = catalogue.load(tmp_path)
    assert read.config.hookpoint == "resid_post.3"
    assert torch.equal(read.encode(x)[0], dictionary.encode(x)[0])


def test_neurons_are_the_axes() -> None:
    x = torch.tensor([[1.0, -2.0]])
    assert baselines.neurons(2).encode(x)[0].tolist() == [[1.0, 0.0, 0.0, 2.0]]


@pytest.mark.parametrize("components", [1, 3, 6])
def test_pca_explains_as_much_as_any_projection_can(components: int) -> None:
    _, x = sample()
    centred = x - x.mean(0)
    left = (baselines.pca(x, components).reconstruct(x) - x).square().sum()
    least = torch.linalg.svdvals(centred)[components:].square().sum()
    torch.testing.assert_close(left, least, atol=1e-2, rtol=1e-3)


def test_ica_finds_the_sources() -> None:
    sources, x = sample()
    features = baselines.ica(x).encode(x)[0]
    found = features[:, :D] - features[:, D:]
    correlation = torch.corrcoef(torch.cat([sources, found], dim=1).T)[:D, D:].abs()
    assert (correlation.max(dim=0).values > 0.97).all()
    assert len(set(correlation.argmax(dim=0).tolist())) == D


def test_random_directions_are_seeded() -> None:
    one, same, other = (baselines.random_directions(D, 50, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.W_dec, same.W_dec)
    assert not torch.equal(one.W_dec, other.W_dec)
    torch.testing.assert_close(one.W_dec.norm(dim=-1), torch.ones(50))
    assert torch.equal(one.W_enc, one.W_dec.T)


@pytest.mark.parametrize("components", [0, 7, -1])
def test_too_many_components(components: int) -> None:
    with pytest.raises(DictionaryError, match="allowed: 1 to 6"):
        baselines.pca(sample()[1], components)
    with pytest.raises(DictionaryError, match="allowed: 1 to 4"):
        baselines.ica(sample(4)[1], 5)

"""Dictionaries of labelled concepts: what their features read and write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dictionaries import catalogue
from dictionaries.architectures import ReLU
from dictionaries.concepts import difference_of_means, linear_probe
from dictionaries.errors import DictionaryError

D = 6
BUILDERS = pytest.mark.parametrize("build", [difference_of_means, linear_probe])
Build = Callable[..., ReLU]


def sample(n: int = 1500) -> tuple[Tensor, Tensor]:
    """Activations [n, 6] with two concepts [n, 2]: one along axis 0, one along axes 1 and 2."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.rand(n, 2, generator=generator) > torch.tensor([0.3, 0.6])
    x = torch.randn(n, D, generator=generator) + 5
    x[:, 0] += 6 * labels[:, 0]
    x[:, 1:3] += 5 * labels[:, 1:]
    return x, labels


@BUILDERS
def test_one_feature_a_side(build: Build) -> None:
    x, labels = sample()
    dictionary = build(x, labels, hookpoint="resid_post.3", model="m")
    features = dictionary.encode(x)[0]
    assert dictionary.width == 4
    assert ((features[:, :2] > 0) == labels).float().mean() > 0.97
    assert torch.equal(features[:, 2:] > 0, features[:, :2] <= 0)
    assert (dictionary.config.hookpoint, dictionary.config.model) == ("resid_post.3", "m")


@BUILDERS
def test_directions_are_unit_and_those_planted(build: Build) -> None:
    dictionary = build(*sample())
    planted = torch.tensor([[1.0, 0, 0, 0, 0, 0], [0, 0.5**0.5, 0.5**0.5, 0, 0, 0]])
    torch.testing.assert_close(dictionary.W_dec.norm(dim=-1), torch.ones(4))
    assert ((dictionary.W_dec[:2] * planted).sum(-1) > 0.95).all()
    assert torch.equal(dictionary.W_enc, dictionary.W_dec.T)
    assert torch.equal(dictionary.W_dec[2:], -dictionary.W_dec[:2])


@BUILDERS
def test_a_feature_is_a_distance(build: Build) -> None:
    x, labels = sample()
    dictionary = build(x, labels[:, 0])
    signed = dictionary.encode(x)[0] @ torch.tensor([1.0, -1.0])
    moved = dictionary.encode(x + 2 * dictionary.W_dec[0])[0] @ torch.tensor([1.0, -1.0])
    torch.testing.assert_close(moved - signed, torch.full((len(x),), 2.0), atol=1e-4, rtol=0)


def test_difference_of_means_is_the_difference() -> None:
    x, labels = sample()
    with_it, without = x[labels[:, 1]].mean(0), x[~labels[:, 1]].mean(0)
    dictionary = difference_of_means(x, labels[:, 1])
    features = dictionary.encode(torch.stack([with_it, without]))[0]
    half = (with_it - without).norm() / 2
    torch.testing.assert_close(features, half * torch.eye(2), atol=1e-4, rtol=1e-4)


def test_a_probe_is_blind_to_scale() -> None:
    x, labels = sample()
    scales = torch.tensor([100.0, 1, 1, 1, 1, 1e-3])
    plain, scaled = linear_probe(x, labels), linear_probe(x * scales, labels)
    one, other = plain.encode(x)[0] > 0, scaled.encode(x * scales)[0] > 0
    assert (one == other).float().mean() > 0.995


@BUILDERS
def test_saved_and_loaded_like_any_other(build: Build, tmp_path: Path) -> None:
    x, labels = sample()
    dictionary = build(x, labels, hookpoint="resid_post.3")
    catalogue.save(dictionary, tmp_path)
    read = catalogue.load(tmp_path)
    assert torch.equal(read.encode(x)[0], dictionary.encode(x)[0])
    one = read.restrict([1]).encode(x)[0]
    torch.testing.assert_close(one, dictionary.encode(x)[0][:, 1:2], atol=1e-5, rtol=1e-5)


@BUILDERS
@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (torch.ones(8).bool(), "concept 0 is everywhere"),
        (torch.zeros(8).bool(), "concept 0 is nowhere"),
        (torch.zeros(7).bool(), r"\[8, 6\] and labels \[7\]"),
        (torch.arange(8), "int64: expected booleans"),
    ],
)
def test_bad_labels(build: Build, labels: Tensor, reason: str) -> None:
    with pytest.raises(DictionaryError, match=reason):
        build(torch.randn(8, D), labels)


def test_equal_means_have_no_direction() -> None:
    x = torch.randn(4, D).repeat(2, 1)
    with pytest.raises(DictionaryError, match="direction is 0"):
        difference_of_means(x, torch.arange(8) < 4)

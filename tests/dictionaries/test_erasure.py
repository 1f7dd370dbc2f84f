"""Erasers: what they remove, and that they remove no more than they must."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from dictionaries.erasure import Eraser, leace, mean_projection
from dictionaries.errors import DictionaryError

D = 12
ERASERS = pytest.mark.parametrize("erase", [mean_projection, leace])
Fit = Callable[[Tensor, Tensor], Eraser]


def sample(seed: int, n: int = 4000, classes: int = 2) -> tuple[Tensor, Tensor]:
    """Correlated activations [n, 12], float64, whose mean depends on the class [n]."""
    generator = torch.Generator().manual_seed(seed)
    shape = torch.Generator().manual_seed(5)
    mixing = torch.randn(D, D, generator=shape).double()
    shifts = 2 * torch.randn(classes, D, generator=shape).double()
    labels = (torch.rand(n, generator=generator) ** 1.5 * classes).long()
    x = torch.randn(n, D, generator=generator).double() @ mixing + shifts[labels] + 3
    return x, labels


def means(x: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([x[labels == each].mean(0) for each in labels.unique()])


@ERASERS
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_class_means_become_equal(erase: Fit, classes: int) -> None:
    x, labels = sample(0, classes=classes)
    assert (means(x, labels)[0] - means(x, labels)[1]).norm() > 1
    eraser = erase(x, labels)
    erased = means(eraser(x), labels)
    assert eraser.rank == classes - 1
    assert (erased - erased[0]).abs().max() < 1e-6
    torch.testing.assert_close(eraser(x).mean(0), x.mean(0))


@ERASERS
def test_a_fresh_probe_finds_nothing(erase: Fit) -> None:
    eraser = erase(*sample(0, 20_000))
    (x, labels), (held, truth) = sample(1), sample(2)

    def accuracy(change: Callable[[Tensor], Tensor]) -> float:
        probe = LogisticRegression(max_iter=1000).fit(change(x).numpy(), labels.numpy())
        return float(probe.score(change(held).numpy(), truth.numpy()))

    majority = float(max(truth.float().mean(), 1 - truth.float().mean()))
    interval = 3 * math.sqrt(0.25 / len(truth))
    assert accuracy(lambda given: given) > majority + 0.2
    assert accuracy(eraser) <= majority + interval


def test_leace_changes_least() -> None:
    x, labels = sample(0)
    change = {
        erase: (erase(x, labels)(x) - x).square().sum(-1).mean()
        for erase in (leace, mean_projection)
    }
    assert change[leace] < 0.9 * change[mean_projection]


def test_leace_is_the_formula() -> None:
    x, labels = sample(0, classes=3)
    hot = torch.nn.functional.one_hot(labels).double()
    centred, z = x - x.mean(0), hot - hot.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    whiten = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    image = whiten @ (centred.T @ z / len(x))
    onto = image @ torch.linalg.pinv(image)
    expected = x - centred @ (torch.linalg.inv(whiten) @ onto @ whiten).T
    torch.testing.assert_close(leace(x, labels)(x), expected)


@ERASERS
def test_erasing_twice_is_erasing_once(erase: Fit) -> None:
    x, labels = sample(0)
    eraser = erase(x, labels)
    torch.testing.assert_close(eraser(eraser(x)), eraser(x))
    torch.testing.assert_close(eraser.matrix @ eraser.matrix, eraser.matrix)


@ERASERS
def test_activations_of_a_subspace_stay_in_it(erase: Fit) -> None:
    x, labels = sample(0)
    flat = torch.cat([x, x[:, :2] * 2], dim=1)
    erased = erase(flat, labels)(flat)
    torch.testing.assert_close(erased[:, D:], erased[:, :2] * 2)
    assert (means(erased, labels)[0] - means(erased, labels)[1]).abs().max() < 1e-6


@ERASERS
def test_several_concepts_at_once(erase: Fit) -> None:
    x, first = sample(0)
    second = (x[:, 0] > x[:, 0].median()).long()
    erased = erase(x, torch.stack([first, second], dim=1))(x)
    for labels in (first, second):
        assert (means(erased, labels)[0] - means(erased, labels)[1]).abs().max() < 1e-6


@ERASERS
def test_dtype_and_leading_shape_stay(erase: Fit) -> None:
    x, labels = sample(0)
    eraser = erase(x, labels > 0)
    batch = x[:24].view(2, 12, D).bfloat16()
    assert (eraser(batch).shape, eraser(batch).dtype) == (batch.shape, torch.bfloat16)


@ERASERS
@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (torch.zeros(8).long(), "nothing to erase"),
        (torch.zeros(7).long(), r"\[8, 12\] and labels \[7\]"),
        (torch.rand(8), "float32: expected whole numbers"),
    ],
)
def test_bad_labels(erase: Fit, labels: Tensor, reason: str) -> None:
    with pytest.raises(DictionaryError, match=reason):
        erase(torch.randn(8, D), labels)

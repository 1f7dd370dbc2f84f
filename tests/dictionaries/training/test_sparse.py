"""A step's cost is that of its active entries, and its gradients are the dense ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dictionaries.training.loss import batch_loss
from dictionaries.training.sparse import (
    BLOCK,
    Pattern,
    PreActivations,
    reconstruct_sparsely,
    select_batch,
    select_tokens,
)
from dictionaries.training.state import initialise
from tests.dictionaries.training.planted import SMALL, planted


def dense_mask(pattern: Pattern) -> Tensor:
    mask = torch.zeros(pattern.shape, dtype=torch.bool)
    mask[pattern.rows, pattern.columns] = True
    return mask


def pre_activations(seed: int = 0, shift: float = 0.0) -> Tensor:
    return torch.randn(40, 30, generator=torch.Generator().manual_seed(seed)) + shift


def product(pre: Tensor) -> PreActivations:
    """What gives these, exactly."""
    return PreActivations(pre, torch.eye(pre.shape[1]), torch.zeros(pre.shape[1]))


@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("shift", [0.0, -2.5])
def test_select_tokens_is_topk(k: int, shift: float) -> None:
    pre = pre_activations(shift=shift)
    index = pre.topk(k, dim=-1).indices
    expected = torch.zeros_like(pre, dtype=torch.bool).scatter(1, index, True) & (pre > 0)
    assert torch.equal(dense_mask(select_tokens(product(pre), k)), expected)


@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("shift", [0.0, -2.5])
@pytest.mark.parametrize("skewed", [False, True])
def test_select_batch_is_topk_of_the_batch(k: int, shift: float, skewed: bool) -> None:
    pre = pre_activations(shift=shift)
    if skewed:  # a sample of rows says little of the others
        pre[1::2] *= 30
    floor = pre.flatten().topk(min(k * len(pre), pre.numel())).values.min()
    expected = (pre >= floor) & (pre > 0)
    assert torch.equal(dense_mask(select_batch(product(pre), k)), expected)


@pytest.mark.parametrize("select", [select_tokens, select_batch])
def test_blocks_are_one_batch(select: Callable[[PreActivations, int], Pattern]) -> None:
    """A batch of several blocks, the last not whole, is chosen from as one."""
    pre = torch.randn(2 * BLOCK + 7, 30, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(pre, dtype=torch.bool)
    if select is select_tokens:
        expected.scatter_(1, pre.topk(3, dim=-1).indices, True)
    else:
        expected = pre >= pre.flatten().topk(3 * len(pre)).values.min()
    pattern = select(product(pre), 3)
    assert torch.equal(dense_mask(pattern), expected & (pre > 0))
    assert torch.equal(pattern.starts.diff(), dense_mask(pattern).sum(1))


@pytest.mark.parametrize("select", [select_tokens, select_batch])
@pytest.mark.parametrize("shift", [0.0, -1.5, -9.0])
def test_sparse_gradients_are_the_dense_ones(
    select: Callable[[PreActivations, int], Pattern], shift: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, target = (torch.randn(40, 12, generator=generator) for _ in range(2))
    shapes = {"b_dec": (12,), "W_enc": (12, 30), "b_enc": (30,), "W_dec": (30, 12)}
    weights = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    weights["b_enc"] += shift
    sparse, dense = ({n: w.clone().requires_grad_() for n, w in weights.items()} for _ in range(2))
    pattern = select(PreActivations(x - weights["b_dec"], weights["W_enc"], weights["b_enc"]), 4)
    ours, active = reconstruct_sparsely(x, **sparse, pattern=pattern)
    code = ((x - dense["b_dec"]) @ dense["W_enc"] + dense["b_enc"]).relu() * dense_mask(pattern)
    theirs = code @ dense["W_dec"]
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(active, (code > 0).sum(0))
    for reconstruction in (ours, theirs):
        (reconstruction - target).square().sum().backward()
    for name in weights:
        torch.testing.assert_close(sparse[name].grad, dense[name].grad, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_every_weight_gets_its_whole_gradient(architecture: str) -> None:
    """The decoder bias as well: it is added at the end, and subtracted before the encoder."""
    x = planted()[0][:256]
    config = replace(SMALL, architecture=architecture, aux_weight=0.0)
    state = initialise(x, config)
    loss, _, _ = batch_loss(x, state, config)
    loss.backward()
    w = {name: weight.detach().clone().requires_grad_() for name, weight in state.weights.items()}
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    select = select_tokens if architecture == "topk" else select_batch
    code = pre.relu() * dense_mask(select(product(pre.detach()), config.k))
    (x - w["b_dec"] - code @ w["W_dec"]).square().sum(-1).mean().backward()
    for name, weight in state.weights.items():
        torch.testing.assert_close(weight.grad, w[name].grad, atol=1e-3, rtol=1e-3, msg=name)

"""O20 and O21: divergences and shares, on their own algebra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from steer.maths import metrics


def logits(*shape: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_kl_is_positive_and_zero_on_itself() -> None:
    p, q = logits(50, 40), logits(50, 40, seed=1)
    assert (metrics.kl(p, q) > 0).all()
    assert metrics.kl(p, p).abs().max() <= 1e-7
    assert (metrics.kl(p, p + 1e-4 * q) >= -1e-7).all()


def test_kl_is_the_first_from_the_second() -> None:
    p, q = torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5])
    expected = (p * (p / q).log()).sum()
    torch.testing.assert_close(metrics.kl(p.log(), q.log()), expected)
    assert not torch.isclose(metrics.kl(q.log(), p.log()), expected)


def test_kl_is_invariant_to_a_shift_of_either() -> None:
    p, q = logits(5, 40), logits(5, 40, seed=1)
    torch.testing.assert_close(metrics.kl(p + 7, q - 30), metrics.kl(p, q), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [1e2, 1e3, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kl_is_finite_for_large_logits(size: float, dtype: torch.dtype) -> None:
    p = torch.tensor([[size, -size, 0.0]], dtype=dtype)
    assert metrics.kl(p, -p).isfinite().all()
    assert metrics.kl(p, p).item() == 0


def test_tokens_that_neither_run_can_give_count_for_nothing() -> None:
    """A model may give −∞ to tokens on purpose: they made NaN of every figure."""
    p, q = torch.randn(2, 3, 11)
    masked_p, masked_q = (torch.cat([each, torch.full((3, 2), -torch.inf)], -1) for each in (p, q))
    assert torch.equal(metrics.kl(masked_p, masked_q), metrics.kl(p, q))
    assert (metrics.kl(masked_p, torch.cat([q, torch.zeros(3, 2)], -1)) > 0).all()
    assert (metrics.kl(torch.cat([p, torch.zeros(3, 2)], -1), masked_q) == torch.inf).all()
    for change in (metrics.change, metrics.delta_logprob):
        assert torch.equal(change(masked_p, masked_q)[:, :11], change(p, q))
        assert not change(masked_p, masked_q)[:, 11:].any()


def test_cross_entropy_is_that_of_torch() -> None:
    scores, ids = logits(2, 7, 11), torch.arange(14).view(2, 7) % 11
    expected = torch.nn.functional.cross_entropy(
        scores[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    torch.testing.assert_close(metrics.cross_entropy(scores, ids).flatten(), expected)


def test_logit_difference_and_logprobs() -> None:
    scores = torch.tensor([[1.0, 5.0, 2.0, 0.0]])
    some, others = torch.tensor([1]), torch.tensor([0, 2])
    assert metrics.logit_difference(scores, some, others).item() == 3.5
    assert metrics.delta_logprob(scores, scores + 4).abs().max() < 1e-6


def test_fvu_uses_centred_variance() -> None:
    x = logits(200, 6) + 100
    assert metrics.fvu(x, x).item() == 0
    torch.testing.assert_close(metrics.fvu(x, x.mean(0).expand_as(x)), torch.tensor(1.0))
    assert metrics.fvu(x, torch.zeros_like(x)) > 100


def test_l0_counts_what_is_not_zero() -> None:
    assert metrics.l0(torch.tensor([[0.0, 1.0, -2.0], [0.0, 0.0, 3.0]])).item() == 1.5


def test_loss_recovered_is_one_at_the_clean_loss_and_zero_at_the_ablated() -> None:
    clean, ablated = 3.0, 9.0
    assert metrics.loss_recovered(clean, clean, ablated) == 1
    assert metrics.loss_recovered(clean, ablated, ablated) == 0
    assert metrics.loss_recovered(clean, 6.0, ablated) == 0.5
    assert metrics.loss_recovered(clean, 12.0, ablated) < 0
    with pytest.raises(ZeroDivisionError):
        metrics.loss_recovered(clean, 4.0, clean)

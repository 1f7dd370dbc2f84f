"""Intervals cover the truth as often as they say; p-values and q-values are what they claim."""

from __future__ import annotations

import pytest
import torch

from steer.maths.statistics import (
    benjamini_hochberg,
    bootstrap,
    exceeds,
    interval,
    sign_flip,
    student_quantile,
)


@pytest.mark.parametrize("n", [8, 20, 50])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_intervals_cover_at_their_nominal_rate(n: int, level: float) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(1500, n, generator=generator, dtype=torch.float64) + 3
    low, high = bootstrap(values, level=level, resamples=1000)
    covered = ((low <= 3) & (high >= 3)).double().mean().item()
    assert covered == pytest.approx(level, abs=0.025)


def test_student_quantiles() -> None:
    """Abramowitz & Stegun, table 26.10."""
    table = {(0.975, 1): 12.706, (0.975, 4): 2.776, (0.95, 9): 1.833, (0.975, 30): 2.042}
    for (share, freedom), expected in table.items():
        assert student_quantile(share, freedom) == pytest.approx(expected, abs=1e-3)


def test_one_prompt_has_no_interval() -> None:
    bounds = interval(torch.tensor([2.0]))
    assert bounds.mean == 2
    assert bounds.low != bounds.low


def test_sign_flip_is_uniform_under_the_null_and_small_for_effects() -> None:
    generator = torch.Generator().manual_seed(2)
    null = torch.randn(1000, 10, generator=generator)
    p = sign_flip(null)
    assert (p <= 0.05).double().mean().item() == pytest.approx(0.05, abs=0.02)
    assert sign_flip(null[:5] + 5).max().item() == pytest.approx(2 / 2**10)
    assert sign_flip(torch.randn(3, 30, generator=generator) + 5, flips=999).max() == 1 / 1000


def test_benjamini_hochberg() -> None:
    """The worked example of the 1995 paper: four of fifteen are rejected at 0.05."""
    p = torch.tensor(
        [
            *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240),
            *(0.4262, 0.5719, 0.6528, 0.7590, 1.0),
        ],
        dtype=torch.float64,
    )
    shuffled = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    q = benjamini_hochberg(p[shuffled])
    assert (q <= 0.05).sum() == 4
    assert torch.equal(q, benjamini_hochberg(p)[shuffled])


@pytest.mark.parametrize("n", [5, 20])
def test_what_is_no_number_is_no_evidence(n: int) -> None:
    """Nothing compares with NaN, so that its p-value was the least that there is."""
    values = torch.ones(2, n)
    values[0, 0] = torch.nan
    for p in (sign_flip(values), exceeds(values, torch.zeros(2, n, 3))):
        assert p[0].isnan()
        assert p[1] < 0.1
        q = benjamini_hochberg(p)
        assert q[0].isnan()
        assert q[1] == 2 * p[1]

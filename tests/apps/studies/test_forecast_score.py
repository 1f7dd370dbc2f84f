"""How often forecasts held, with an interval that is over features and nothing else."""

from __future__ import annotations

import math

import pytest
import torch

from apps.studies.forecasts.score import coverage


@pytest.mark.parametrize("axis", [-1, -2])
def test_the_interval_is_over_features_where_another_axis_is_as_long(axis: int) -> None:
    """One feature of four always holds: of four texts each, a quarter."""
    off = torch.full((4, 4, 4), 9.0)
    off.select(axis, 2).zero_()
    mean, low, high = coverage(off, (-1.0, 1.0), axis)
    assert mean == 0.25
    assert high - low > 0.5
    other = coverage(off, (-1.0, 1.0), -3)  # along which all are alike
    assert other == [0.25, 0.25, 0.25]


def test_what_is_not_known_is_left_out() -> None:
    off = torch.tensor([[0.0, 0.0, 9.0], [math.nan, 0.0, math.nan]])
    assert coverage(off, (-1.0, 1.0))[0] == pytest.approx(2 / 3, abs=1e-4)

"""CPR and CMD of curves whose areas are known, and what is refused."""

from __future__ import annotations

import pytest
import torch

from steer.effects.patching.integrated import integrated_faithfulness
from steer.errors import SteerError

PLACES = [0.0, 0.1, 0.5, 1.0]
BASE, TARGET = torch.tensor([1.0, -2.0, 0.5, 0.0]), torch.tensor([3.0, 4.0, 1.5, 2.0])
ENDS = torch.stack([BASE, TARGET])


def at(shares: list[float]) -> torch.Tensor:
    return BASE + torch.tensor(shares).unsqueeze(1) * (TARGET - BASE)


@pytest.mark.parametrize(
    ("shares", "cpr", "cmd"),
    [
        ([0.0, 0.1, 0.5, 1.0], 0.5, 0.5),
        ([1.0, 1.0, 1.0, 1.0], 1.0, 0.0),
        ([2.0, 2.0, 2.0, 2.0], 2.0, 1.0),
        ([0.0, 1.0, 1.0, 1.0], 0.95, 0.05),
    ],
)
def test_known_areas(shares: list[float], cpr: float, cmd: float) -> None:
    """All pairs have the same share, so that it has no spread either."""
    areas = integrated_faithfulness(PLACES, at(shares), ENDS)
    for area, known in ((areas.cpr, cpr), (areas.cmd, cmd)):
        assert area.mean == pytest.approx(known)
        assert area.low == pytest.approx(known)
        assert area.high == pytest.approx(known)


def test_the_interval_holds_the_mean_and_is_wider_for_pairs_that_differ() -> None:
    noise = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    areas = integrated_faithfulness(PLACES, at([0.0, 0.3, 0.6, 1.0]) + noise, ENDS)
    for area in (areas.cpr, areas.cmd):
        assert area.low < area.mean < area.high


def test_what_is_no_curve() -> None:
    for places in ([0.1, 0.2, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0], [0.0, 0.2, 0.5, 0.9]):
        with pytest.raises(SteerError, match="ascend from 0 to 1"):
            integrated_faithfulness(places, at([0.0] * 4), ENDS)
    with pytest.raises(SteerError, match="says nothing"):
        integrated_faithfulness(PLACES, at([0.0] * 4), torch.stack([BASE, BASE]))

"""Which features return, on planted dictionaries; the chance of one more seed; the file beside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dictionaries.beside.stability import Stability
from dictionaries.errors import FormatError
from dictionaries.measures.stability import (
    chances,
    cosines,
    one_more,
    spans,
    stability,
)

D, SHARED, SPLIT, OWN = 64, 40, 10, 50
"""Features that every seed has, planes that every seed has in another basis, and one's own."""


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(seed: int) -> Tensor:
    """Rows in a shuffled order: shared ones, two in each plane, and ones of this seed alone."""
    planes = torch.linalg.qr(drawn(1, SPLIT, D, 2)).Q.transpose(1, 2)
    turn = torch.linalg.qr(drawn(100 + seed, SPLIT, 2, 2)).Q
    turned = (turn @ planes).flatten(0, 1)
    rows = torch.cat([drawn(0, SHARED, D), turned, drawn(200 + seed, OWN, D)])
    return rows * (1.5 + drawn(seed, len(rows), 1).tanh())


def shuffled(rows: Tensor, seed: int) -> Tensor:
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]


SEEDS = [shuffled(planted(seed), seed) for seed in (1, 2, 3, 4)]


def test_a_shared_row_is_found_in_every_order_and_length() -> None:
    seen = cosines(planted(0), SEEDS)
    torch.testing.assert_close(seen[:SHARED], torch.ones(SHARED, 4), rtol=1e-4, atol=1e-4)
    assert (seen[-OWN:] < 0.7).all()
    opposite = cosines(-planted(0)[:SHARED], [planted(0)[:SHARED]])
    assert (opposite < 0.7).all()


def test_a_plane_is_found_where_its_rows_are_not() -> None:
    share, bases = spans(planted(0), SEEDS[0])
    plane = slice(SHARED, SHARED + 2 * SPLIT)
    assert (share[plane] > 0.85).all()  # a row of the plane that is nearly at right angles is lost
    assert (cosines(planted(0), SEEDS[:1])[plane] < 0.9).any()
    assert (share[-OWN:] < 0.6).all()
    identity = torch.eye(bases.shape[1]).expand(len(bases), -1, -1)
    torch.testing.assert_close(bases @ bases.transpose(1, 2), identity, rtol=1e-4, atol=1e-4)


def test_the_report_of_a_planted_dictionary() -> None:
    report = stability(planted(0), SEEDS, samples=7)
    assert (report.chance[:SHARED] > 0.9).all()
    assert (report.chance[-OWN:] < 0.1).all()
    assert report.of(0).returns
    assert not report.of(SHARED + 2 * SPLIT).returns
    first = SHARED  # the two rows of a plane lie beside each other
    assert first + 1 in report.beside[first].tolist()
    assert all(number not in report.beside[number].tolist() for number in range(SHARED))
    assert "does not come back" in str(report.of(SHARED + 2 * SPLIT))


def test_chances_are_right_where_cosines_say_only_how_likely() -> None:
    likely = torch.rand(4000, 1, generator=torch.Generator().manual_seed(0))
    seen = (torch.rand(4000, 4, generator=torch.Generator().manual_seed(1)) < likely) * 0.5 + 0.4
    fifth = torch.rand(4000, generator=torch.Generator().manual_seed(2)) < likely[:, 0]
    half = slice(0, 2000), slice(2000, None)
    found = chances(seen[half[0]], fifth[half[0]], seen[half[1]])
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        inside = (found >= low) & (found < high)
        if inside.sum() > 50:
            truth = fifth[half[1]][inside].float().mean()
            assert abs(found[inside].mean() - truth) < 0.06
    assert one_more(seen).shape == (4000,)


def test_the_file_and_a_damaged_one(tmp_path: Path) -> None:
    report = stability(planted(0), SEEDS, samples=7)
    assert Stability.load(tmp_path) is None
    assert "too low" not in str(report.of(0))
    replace(report, own_samples=9).save(tmp_path)
    again = Stability.load(tmp_path)
    assert again is not None
    assert "fewer than its own 9, so that this is too low" in str(again.of(0))
    torch.testing.assert_close(again.chance, report.chance, rtol=0, atol=1 / 255)
    assert torch.equal(again.beside, report.beside)
    assert (again.seeds, again.samples) == (4, 7)
    file = tmp_path / "stability.safetensors"
    assert file.stat().st_size < 9 * len(report.chance) + 1000
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(FormatError, match="steer stability"):
        Stability.load(tmp_path)

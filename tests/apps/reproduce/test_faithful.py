"""Rows of integrated faithfulness on a tiny model, where both ends are known."""

from __future__ import annotations

import pytest
import torch

import steer
from apps.reproduce.e3_localisation import experiment as e3
from apps.reproduce.e3_localisation import faithful
from apps.reproduce.e3_localisation.aligned import Search
from apps.reproduce.e3_localisation.faithful import Asked
from tests.apps.reproduce.test_localised import PAIRS
from tests.support import tiny

ASKED = Asked(tuple(PAIRS[:2]), tuple(PAIRS), tuple(PAIRS[1:]))


@pytest.fixture(scope="module")
def controls() -> dict[str, steer.Dictionary]:
    x = torch.randn(200, tiny.D, generator=torch.Generator().manual_seed(0))
    return dict(e3.controls(x, "resid_post.1", 48, 0))


def test_a_basis_reaches_the_target_and_nothing_moves_nothing(
    llama: steer.Model, controls: dict[str, steer.Dictionary]
) -> None:
    for name in ("PCA", "neurons"):
        rows = list(faithful.dictionary_rows(llama, name, controls[name], ASKED))
        sizes = {row.features: row for row in rows if row.what == "size"}
        assert sizes[0].share == pytest.approx(0, abs=1e-5)
        assert sizes[64].share == pytest.approx(1, abs=1e-3)  # more than it has: all
        assert (sizes[64].kl or 0) < 1e-4 < (sizes[0].kl or 0)
        upto, whole = (row for row in rows if row.what != "size")
        assert (upto.features, whole.features) == (64, 2 * tiny.D)
        for row in (upto, whole):
            assert row.cpr is not None
            assert row.cmd is not None
            assert row.cmd >= abs(1 - row.cpr) - 1e-6


def test_a_subspace_of_all_dimensions_is_the_whole_site(
    llama: steer.Model, controls: dict[str, steer.Dictionary]
) -> None:
    rows = list(
        faithful.subspace_rows(
            llama, controls["neurons"], ASKED, (1, tiny.D), Search(steps=2, batch=2)
        )
    )
    sizes = {row.features: row for row in rows if row.what == "size"}
    assert list(sizes) == [0, 2, 2 * tiny.D]
    assert sizes[0].share == pytest.approx(0, abs=1e-5)
    assert sizes[2 * tiny.D].share == pytest.approx(1, abs=1e-3)
    assert (sizes[2 * tiny.D].kl or 0) < 1e-4


def test_what_the_table_says(llama: steer.Model, controls: dict[str, steer.Dictionary]) -> None:
    rows = faithful.told(faithful.dictionary_rows(llama, "neurons", controls["neurons"], ASKED))
    (line,) = faithful.table(rows).splitlines()[2:]
    assert line.startswith("| neurons | ")
    assert "1.00" in line

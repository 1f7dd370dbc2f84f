"""What is shipped of which features come back, and what the README says of it."""

from __future__ import annotations

import pytest

from dictionaries import catalogue
from dictionaries.beside.stability import Stability
from tests.support import ROOT

README = (ROOT / "dictionaries" / "README.md").read_text(encoding="utf-8")
BLOCKS = ("resid_post.20", "resid_post.10")


@pytest.fixture(scope="module")
def shipped() -> list[Stability]:
    measured = []
    for site in BLOCKS:
        place = catalogue.load(f"smollm2-135m/{site}").place
        assert place is not None
        known = Stability.load(place)
        assert known is not None
        measured.append(known)
    return measured


def test_it_is_of_trainings_as_long_as_their_own(shipped: list[Stability]) -> None:
    for known in shipped:
        assert (known.seeds, known.samples, known.own_samples) == (4, 8_000_000, 8_000_000)
        assert "too low" not in str(known.of(0))


def test_the_readme_says_what_is_shipped(shipped: list[Stability]) -> None:
    def row(name: str, *values: str) -> str:
        return f"| {name} | {' | '.join(values)} |"

    returning = [f"{(known.chance >= 0.5).float().mean().item():.1%}" for known in shipped]
    assert row("features likelier to come back than not", *returning) in README
    cosine = [f"{known.cosine.mean().item():.2f}".lstrip("0") for known in shipped]
    assert row("cosine of the nearest row, mean", *cosine) in README
    share = [f"{known.share.mean().item():.0%}" for known in shipped]
    assert row("share of a row in the span of four rows of a seed", *share) in README


def test_the_named_features_that_come_back(shipped: list[Stability]) -> None:
    named = (1176, 2259, 5520, 1532, 641, 571, 3370, 2631, 2711, 4159, 1491, 4973, 1925, 727)
    back = {feature for feature in named if shipped[0].of(feature).returns}
    assert back == {1176, 2259, 5520, 1532, 571, 2631, 4973, 727}

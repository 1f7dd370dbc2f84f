"""Searching the default model's features: what is measured, and what the page says of it."""

from __future__ import annotations

import json

import pytest

import steer
from steer.interpretation.find import Finder, Found
from tests.support.command import Run

NAME = "smollm2-135m/resid_post.20"


@pytest.fixture(scope="module")
def finder() -> Finder:
    model = steer.load("smollm2-135m")
    return Finder(model.dictionary(NAME), model.token, model)


def first(found: Found, count: int) -> list[int]:
    return [hit.feature for hit in found.hits[:count]]


def test_ocean_brings_the_feature_that_fires_at_31_on_it(finder: Finder) -> None:
    text = finder.model.features("I thought about the ocean", NAME)  # type: ignore[union-attr]
    assert text.activations[-1, 3863].item() == pytest.approx(31.6, abs=0.5)
    assert 3863 in first(finder.find("ocean"), 3)


@pytest.mark.parametrize("odd", ["-4", "<b>"])
def test_what_is_no_word_brings_nothing(finder: Finder, odd: str) -> None:
    hits = finder.find(odd)
    assert hits.hits == ()
    assert "search for words" in hits.note


@pytest.mark.parametrize(
    ("words", "feature"), [("questions", 2631), ("comparatives", 1176), ("superlatives", 2259)]
)
def test_features_that_were_named_are_found_by_their_names(
    finder: Finder, words: str, feature: int
) -> None:
    hits = finder.find(words)
    assert first(hits, 1) == [feature]
    assert hits.hits[0].sides.writes.endswith("(by hand)")


def test_every_hit_has_both_sides(finder: Finder) -> None:
    for words in ("ocean", "love", "money", "Python code", "question", "French"):
        hits = finder.find(words)
        assert hits.measured
        assert hits.hits
        for hit in hits.hits:
            assert hit.sides.reads
            assert hit.sides.writes
            assert "figure" not in hit.sides.effect


@pytest.mark.parametrize("feature", [1176, 1840, 4476])
def test_a_card_says_what_the_search_says_of_pushing(
    finder: Finder, feature: int, run: Run
) -> None:
    """`steer feature` names, in words and in JSON, how much likelier its tokens become."""
    (hit,) = finder.find(str(feature)).hits
    said = json.loads(run("feature", feature, "--json").out)
    both = hit.sides.to_dict()
    assert said["written"] is not None
    assert {name: said[name] for name in both} == both
    shown = " ".join(run("feature", feature).out.split())
    assert hit.sides.effect in shown
    assert f"{said['written']:+.2f}" in shown

"""A planted feature is what writes about the concept; generic, dense and chance ones are not."""

from __future__ import annotations

import pytest
import torch

from steer.concepts.candidates import (
    Background,
    Candidate,
    candidates,
    contrast,
    matched_at_random,
)
from steer.concepts.detector import detector
from tests.steer.concepts import planted


def test_only_the_planted_feature_counts() -> None:
    scores = contrast(planted.fit(), planted.held_out(), planted.background())
    assert scores.isfinite().nonzero().flatten().tolist() == [planted.CONCEPT]
    assert scores[planted.CONCEPT].item() == pytest.approx(2.0 - 0.1)


def test_a_word_without_features_of_its_own_has_no_candidates() -> None:
    other = planted.reading({planted.GENERIC: 3.0, planted.DENSE: 1.0})
    found = candidates(planted.dictionary(), other, other, planted.background())
    assert found == []


def test_sets_write_what_they_say() -> None:
    own = {feature: 1.0 + feature / 10 for feature in range(20, 34)}
    about = planted.reading(own)
    dictionary, empty = planted.dictionary(), planted.reading({})
    sets = candidates(dictionary, about, about, Background(empty, (empty, empty)))
    assert {each.name.split()[0] for each in sets} == {"single", "contrast", "sparse"}
    for each in sets:
        assert set(each.features) <= set(own)
        assert min(each.weights) > 0
        written = torch.tensor(each.weights) @ dictionary.W_dec[list(each.features)]
        assert written.norm().item() == pytest.approx(1, abs=1e-5)
        edits = each.edit("planted", 7.0).edits
        amounts = torch.tensor([edit.value for edit in edits])  # type: ignore[attr-defined]
        total = amounts @ dictionary.W_dec[[edit.feature for edit in edits]]  # type: ignore[attr-defined]
        assert total.norm().item() == pytest.approx(7, rel=1e-3)


def test_random_features_are_others_of_the_same_density_and_size() -> None:
    dictionary = planted.dictionary()
    share = torch.linspace(0.001, 0.04, planted.WIDTH)
    chosen = Candidate("set", (5, 6, 30), (0.5, 0.5, 0.5))
    control = matched_at_random(chosen, dictionary, share, seed=3)
    assert control == matched_at_random(chosen, dictionary, share, seed=3)
    assert len(set(control.features)) == 3
    assert not set(control.features) & set(chosen.features)
    written = torch.tensor(control.weights) @ dictionary.W_dec[list(control.features)]
    assert written.norm().item() == pytest.approx(1, abs=1e-5)


def test_a_planted_feature_detects_and_a_generic_one_does_not() -> None:
    halves = planted.fit(), planted.held_out(), planted.background()
    right = detector(Candidate("one", (planted.CONCEPT,), (1.0,)), *halves)
    assert (right.precision, right.recall, right.f1) == (1, 1, 1)
    assert (right.positives, right.negatives) == (12, 54)
    wrong = detector(Candidate("one", (planted.GENERIC,), (1.0,)), *halves)
    assert wrong.f1 < 0.5

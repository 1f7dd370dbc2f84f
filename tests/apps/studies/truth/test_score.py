"""What is counted as right, wrong and missed."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest

from apps.studies.truth.graph import EITHER, Link
from apps.studies.truth.score import SHARE, Count, Truth, count, named_by, precision, recall

LINKS = {1: Link(1), 2: Link(-1), 3: Link(EITHER), 4: Link(1, backed=True)}


def test_what_has_a_stand_in_may_be_named_and_need_not() -> None:
    truth = Truth.of(LINKS)
    assert truth == Truth(frozenset({1, 2, 3}), frozenset({1, 2, 3}), frozenset({4}))
    assert count(frozenset({1, 4, 9}), truth) == Count(
        named=3, right=2, must=3, seen=1, backed=1, backed_seen=1
    )


def test_who_looks_for_falls_need_not_see_what_raises() -> None:
    truth = Truth.of(LINKS, only=1)
    assert truth.must == {1}
    assert count(frozenset({2}), truth).right == 0
    assert count(frozenset({3}), truth) == Count(named=1, right=1, must=1, seen=0, backed=1)


def test_a_method_names_what_has_its_share_of_the_largest() -> None:
    assert named_by({1: -2.0, 2: 2 * SHARE, 3: 1.9 * SHARE, 4: 0.0}) == {1, 2}
    assert named_by({1: 0.0}) == named_by({}) == frozenset()
    assert named_by({1: 0.1, 2: 1.0}, whole=10.0) == {2}


def test_worlds_are_pooled() -> None:
    rows = [asdict(Count(4, 4, 2, 1)), asdict(Count(1, 0, 8, 8))]
    assert precision(rows).mean == pytest.approx(4 / 5)
    assert recall(rows).mean == pytest.approx(9 / 10)
    assert math.isnan(precision([asdict(Count())]).mean)
    assert recall(rows).low < recall(rows).mean < recall(rows).high

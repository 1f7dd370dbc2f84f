"""Explaining and detecting with a judge: a perfect judge scores 1, one that guesses does not."""

from __future__ import annotations

import math

import pytest

from steer.errors import SteerError
from steer.interpretation.judged import (
    Fragment,
    detect_with,
    explain,
    fragments,
    simulate,
)
from tests.support.judge import TEXTS, activity, drawn, perfect, tokens


def test_fragments_come_from_the_right_part() -> None:
    strongest, active, silent = drawn()
    assert all(fragment.active for fragment in (*strongest, *active))
    assert len(silent) == 5
    assert not any(fragment.active for fragment in silent)
    assert all(len(f.pieces) == len(f.strengths) == 24 for f in (*strongest, *active, *silent))
    # The rows that choose are odd, and the strongest comes first.
    peaks = [max(fragment.strengths) for fragment in strongest]
    assert peaks == sorted(peaks, reverse=True)
    assert all(peak % 2 == 0 for peak in peaks)
    assert all(max(fragment.strengths) % 2 == 1 for fragment in active)
    assert drawn() == (strongest, active, silent)


def test_marks() -> None:
    assert Fragment((" the", " cat", " sat"), (0.0, 2.0, 0.5)).marked() == "the« cat» sat"


def test_a_perfect_judge() -> None:
    strongest, active, silent = drawn()
    explanation = explain(perfect, strongest)
    assert explanation == "the word cat"
    detection = detect_with(perfect, explanation, active, silent)
    assert (detection.precision, detection.recall, detection.f1) == (1, 1, 1)
    assert detection.fragments == 10
    assert simulate(perfect, explanation, [*active, *silent]) > 0.8


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("none", (0, 0, 0)),
        ("1,2,3,4,5,6,7,8,9,10,11,99", (0.5, 1, 2 / 3)),
    ],
)
def test_a_judge_that_does_not_read(reply: str, expected: tuple[float, ...]) -> None:
    _, active, silent = drawn()
    detection = detect_with(lambda prompt: reply, "anything", active, silent)
    assert (detection.precision, detection.recall, detection.f1) == pytest.approx(expected)


def test_the_order_shown_says_nothing() -> None:
    _, active, silent = drawn()
    seen: list[str] = []

    def judge(prompt: str) -> str:
        seen.append(prompt)
        return "1, 2, 3, 4, 5"

    assert detect_with(judge, "x", active, silent).precision < 1
    detect_with(judge, "x", active, silent)
    assert seen[0] == seen[1]


def test_a_constant_simulation_has_no_correlation() -> None:
    _, active, _ = drawn()
    assert math.isnan(simulate(lambda prompt: "1: 5", "x", active[:1])) is False
    everything = "\n".join(f"{n}: 5" for n in range(1, 25))
    assert math.isnan(simulate(lambda prompt: everything, "x", active))


def test_a_judge_that_says_nothing() -> None:
    strongest, active, _ = drawn()
    with pytest.raises(SteerError, match="no explanation"):
        explain(lambda prompt: " \n", strongest)
    with pytest.raises(SteerError, match="no activations"):
        simulate(lambda prompt: "I can't", "x", active)


def test_a_silent_feature() -> None:
    with pytest.raises(SteerError, match="feature 1 is silent"):
        fragments(activity(), tokens(), TEXTS, 1)


# -- over HTTP ---------------------------------------------------------------------------------

"""Ratios of times: who goes first takes turns, and the one is over the other."""

from __future__ import annotations

import pytest

from apps.studies.bench import timed


def test_each_goes_first_in_turn() -> None:
    order: list[str] = []
    timed.interleaved(lambda: order.append("a"), lambda: order.append("b"), 4)
    assert "".join(order[2:]) == "abbaabba"


def test_the_ratio_is_of_the_one_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever goes first: a clock that only the two advance."""
    now = [0.0]
    monkeypatch.setattr(timed.time, "perf_counter", lambda: now[0])

    def takes(seconds: float):  # type: ignore[no-untyped-def]
        def run() -> None:
            now[0] += seconds

        return run

    assert timed.interleaved(takes(3.0), takes(2.0), 5) == (1.5,) * 5

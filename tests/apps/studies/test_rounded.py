"""What is said of texts in two dtypes, from rows made up."""

from __future__ import annotations

from typing import Any

import pytest

from apps.studies.costs.rounded import first_difference, summary


@pytest.mark.parametrize(
    ("one", "other", "at"),
    [
        ((1, 2, 3), (1, 2, 3), None),
        ((1, 2, 3), (1, 5, 3), 1),
        ((1, 2, 3), (1, 2), 2),
        ((), (4,), 0),
        ((), (), None),
    ],
)
def test_the_first_difference(one: tuple[int, ...], other: tuple[int, ...], at: int | None) -> None:
    assert first_difference(one, other) == first_difference(other, one) == at


def row(fp32: float, bf16: float, at: int | None, kl: float, effect: float) -> dict[str, Any]:
    text = {"first_difference": at, "kl": kl, "effect": {"float32": 2.0, "bfloat16": effect}}
    return {"seconds": {"float32": fp32, "bfloat16": bf16}, "unsteered": text, "steered": text}


def test_a_summary() -> None:
    rows = [row(3, 1, None, 0.1, 2.0), row(2, 1, 4, 0.3, 1.0), row(4, 1, 10, 0.2, 2.2)]
    told = summary(rows)
    assert (told["prompts"], told["speed"]) == (3, [2, 3, 4])
    for which in ("unsteered", "steered"):
        assert told[which]["equal"] == 1
        assert told[which]["first_difference"] == 7
        assert told[which]["kl"] == pytest.approx(0.2)
        assert told[which]["effect_off"] == pytest.approx(0.1)

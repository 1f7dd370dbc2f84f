"""What E6 finds of a feature at a dose, and what follows: its balance, and the dose of a cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BUDGET = 0.5
"""Nats per token."""


@dataclass(frozen=True)
class Dosed:
    """Figures of one feature at one dose. multiple: of the maximum; None if let go of."""

    group: str
    feature: int
    dose: str
    multiple: float | None
    figures: Mapping[str, float]


def merge(dosed: Sequence[Dosed]) -> list[Dosed]:
    """Figures of one feature at one dose together, doses in ascending order, unsteered first."""
    figures: dict[tuple[str, int, str, float | None], dict[str, float]] = {}
    for row in dosed:
        key = (row.group, row.feature, row.dose, row.multiple)
        figures.setdefault(key, {}).update(row.figures)

    def order(key: tuple[str, int, str, float | None]) -> tuple[str, bool, float]:
        group, _, dose, multiple = key
        return group, dose != "none", math.inf if multiple is None else multiple

    return [Dosed(*key, figures[key]) for key in sorted(figures, key=order)]


def balanced(dosed: Sequence[Dosed]) -> list[Dosed]:
    """With the balance of concept and fluency, where text was written."""
    unsteered = {row.feature: row.figures for row in dosed if row.dose == "none"}
    done = []
    for row in dosed:
        figures = dict(row.figures)
        if "loss" in figures and row.feature in unsteered:
            fluency = min(1.0, math.exp(unsteered[row.feature]["loss"] - figures["loss"]))
            concept = figures["concept"]
            both = concept + fluency
            figures["balance"] = 2 * concept * fluency / both if both else 0.0
        done.append(Dosed(row.group, row.feature, row.dose, row.multiple, figures))
    return done


def crossing(points: Sequence[tuple[float, float]], level: float = BUDGET) -> float | None:
    """Where the line through (dose, cost) points, from (0, 0), first reaches the level."""
    before = (0.0, 0.0)
    for dose, cost in sorted(points):
        if cost >= level > before[1]:
            share = (level - before[1]) / (cost - before[1])
            return before[0] + share * (dose - before[0])
        before = dose, cost
    return None

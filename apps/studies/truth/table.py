"""What the rows say: a line a method, a line a trainer, and whether the goals are reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apps.studies.truth.bench import of_part
from apps.studies.truth.methods import EXACT, METHODS
from apps.studies.truth.score import backed_recall, precision, recall
from apps.studies.truth.world import WORLDS
from steer.disk.ledger import Row
from steer.maths.statistics import Interval

AT_LEAST = 0.95
"""Precision and recall that an exact method must have."""
EXPLAINED, RECOVERED = 0.65, 0.2
"""The published shape: at least so much variance explained, with at most so many features."""


def methods(rows: Sequence[Row]) -> list[Row]:
    """A line a method and kind of world; its intervals are over the worlds' seeds."""
    lines = []
    for method in METHODS:
        for kind in WORLDS:
            some = [
                row
                for row in of_part(rows, "methods")
                if (row["label"], row["kind"]) == (method.name, kind)
            ]
            if not some:
                continue
            gaps = [row["gap"] for row in some if row["gap"] is not None]
            lines.append(
                {"method": method.name, "by": method.kind, "world": kind}
                | _told("precision", precision(some))
                | _told("recall", recall(some))
                | _told("backed_up", backed_recall(some))
                | {"error": sum(gaps) / len(gaps) if gaps else None, "worlds": len(some)}
            )
    return lines


def trainers(rows: Sequence[Row]) -> list[Row]:
    """A line a trainer: the mean over the sets of samples."""
    lines = []
    some = of_part(rows, "trainers")
    for kind, label in dict.fromkeys((row["kind"], row["label"]) for row in some):
        same = [row for row in some if (row["kind"], row["label"]) == (kind, label)]

        def mean(name: str, same: list[Row] = same) -> float:
            return sum(row[name] for row in same) / len(same)

        lines.append(
            {
                "trainer": label,
                "seen": same[0]["seen"],
                "explained": mean("explained_variance"),
                "L0": mean("l0"),
                "recovered": mean("recovered"),
                "low": mean("recovered_low"),
                "high": mean("recovered_high"),
                "of_frequent": mean("of_frequent"),
                "of_rare": mean("of_rare"),
                "closest": mean("closest"),
                "sets": len(same),
            }
        )
    return lines


def goals(rows: Sequence[Row]) -> dict[str, Any]:
    """Each goal, and what misses it."""
    exact = [line for line in methods(rows) if line["by"] == EXACT]
    missed = [
        f"{line['method']} ({line['world']}): {name} {line[name]:.3f}"
        for line in exact
        for name in ("precision", "recall")
        if not line[name] >= AT_LEAST
    ]
    shaped = [
        f"{line['trainer']} ({line['seen']:,} samples)"
        for line in trainers(rows)
        if line["explained"] >= EXPLAINED and line["recovered"] <= RECOVERED
    ]
    return {"exact": bool(exact) and not missed, "missed": missed, "published_shape": shaped}


def said(rows: Sequence[Row]) -> list[str]:
    """The goals in words."""
    reached_goals, lines = goals(rows), []
    if of_part(rows, "methods"):
        reached = (
            "all reached"
            if reached_goals["exact"]
            else f"missed by {'; '.join(reached_goals['missed'])}"
        )
        lines.append(
            f"exact methods, precision and recall of at least {AT_LEAST}: {reached}",
        )
    if of_part(rows, "trainers"):
        shaped = ", ".join(reached_goals["published_shape"]) or "none"
        lines.append(
            f"explained variance of at least {EXPLAINED} with at most {RECOVERED:.0%} of the "
            f"features: {shaped}"
        )
    return lines


def _told(name: str, estimate: Interval) -> dict[str, float]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}

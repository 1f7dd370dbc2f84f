"""Random interventions of every kind, for tests."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal

from steer.edits import (
    Ablate,
    AblateSubspace,
    Add,
    AddDirection,
    Cap,
    CapProjection,
    Clamp,
    ClampProjection,
    ClampSubspace,
    Edit,
    Floor,
    FloorProjection,
    Intervention,
    ProjectOut,
    Scale,
    ScaleSubspace,
    Subspace,
)
from steer.edits.conditions import Active, Condition, Not, Seen
from steer.edits.directions import DecoderRow, Random, Vector
from steer.edits.positions import Positions, Rows, Tokens
from steer.edits.schedules import After, Decay, First, Ramp, Schedule
from tests.support.tiny import WIDTH, D


def _positions(rng: random.Random) -> Positions:
    choices: list[Positions] = ["all", "prompt", "generated", "last", "text", "1:", ":-1", "::2"]
    choices += [0, 2, -1, [1, 3], [-2, 6], Tokens("w7", 31, "w3"), slice(2, 5)]
    return rng.choice(choices)


def by_row(rng: random.Random, edit: Edit, row: int, rows: int) -> Edit:
    """The same edit in its row of a batch; other positions in the others."""
    if rng.random() < 0.6:
        return edit
    specs = [_positions(rng) for _ in range(rows)]
    specs[row] = edit.positions
    return replace(edit, positions=Rows(*specs))


def _condition(rng: random.Random, depth: int = 0) -> Condition | None:
    kind = rng.randrange(8 if depth == 0 else 5)
    leaf = rng.choice([Active, Seen])(rng.randrange(WIDTH), rng.choice([0.0, 0.3]))
    if kind >= 5:
        return None
    if depth > 1 or kind < 2:
        return leaf
    inner = _condition(rng, depth + 1) or leaf
    return {2: inner & leaf, 3: inner | leaf, 4: Not(inner)}[kind]


def _schedule(rng: random.Random) -> Schedule | None:
    kinds = [First, After, Ramp, Decay]
    return rng.choice(kinds)(rng.randint(1, 3)) if rng.random() < 0.3 else None


def _edit(rng: random.Random, feature: int) -> Edit:
    values: list[float | str] = [1.5, -2.0, "2x max", "0.3x norm"]
    lengths: list[float | str] = [1.5, "0.3x norm", "2x vector"]
    value, length = rng.choice(values), rng.choice(lengths)
    direction = rng.choice(
        [Random(feature), DecoderRow("tiny", feature), Vector([float(i % 5 - 2) for i in range(D)])]
    )
    subspace = Subspace([Random(100 + feature), Random(200 + feature)])
    edit = rng.choice(
        [
            Ablate(feature),
            Ablate(feature, to="mean"),
            Clamp(feature, value),
            Add(feature, value),
            Floor(feature, value),
            Cap(feature, value),
            Scale(feature, rng.choice([0.0, 0.5, 3.0, -1.0])),
            AddDirection(direction, length),
            ClampProjection(direction, length),
            CapProjection(direction, length),
            FloorProjection(direction, length),
            ProjectOut(direction),
            AblateSubspace(subspace),
            ScaleSubspace(subspace, rng.choice([0.0, 0.5, 3.0, -1.0])),
            ClampSubspace(subspace, rng.choice([1.5, "0.3x norm"])),
        ]
    )
    return replace(edit, positions=_positions(rng), when=_condition(rng), schedule=_schedule(rng))


def random_intervention(rng: random.Random) -> Intervention:
    """One to four edits of the tests' dictionary, of any kind, place, time and condition."""
    # Feature 0 was never active in the made-up statistics: its multiples are refused.
    features = rng.sample(range(1, WIDTH), rng.randint(1, 3))
    features += rng.choices(features, k=rng.randint(0, 1))
    edits = [_edit(rng, feature) for feature in features]
    error: Literal["keep", "drop"] = "drop" if rng.random() < 0.25 else "keep"
    return Intervention("tiny", edits, error=error, conflicts="in_order")

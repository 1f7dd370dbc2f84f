"""Random interventions of every kind against `tests.reference`, many different ones in a batch."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Any

import pytest

import steer
from dictionaries.base import Dictionary
from steer.conditions import Active, Condition, Not, Seen
from steer.directions import DecoderRow, Random, Vector
from steer.edits import (
    Ablate,
    Add,
    AddDirection,
    Cap,
    Clamp,
    ClampProjection,
    Edit,
    Floor,
    Intervention,
    ProjectOut,
    Scale,
)
from steer.positions import Positions, Tokens
from steer.schedules import After, Decay, First, Ramp, Schedule
from tests import reference
from tests.tiny import (
    EOS,
    FAMILIES,
    PROMPTS,
    WIDTH,
    D,
    dictionary,
    plain_model,
    tiny_model,
    tokenizer,
)

COUNT = int(os.environ.get("STEER_RANDOM_INTERVENTIONS", "40"))
"""Random interventions a family; 500 takes some minutes."""

ALONE = 8 if COUNT < 500 else 2
"""Of so many interventions, one is also run alone, and one streamed."""


def _positions(rng: random.Random) -> Positions:
    choices: list[Positions] = ["all", "prompt", "generated", "last", "text", "1:", ":-1", "::2"]
    choices += [0, 2, -1, [1, 3], [-2, 6], Tokens("w7", 31, "w3"), slice(2, 5)]
    return rng.choice(choices)


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


def _edit(rng: random.Random, feature: int, given: Dictionary) -> Edit:
    value = rng.choice([1.5, -2.0, "2x max", "0.3x norm"])
    length = rng.choice([1.5, "0.3x norm", "2x vector"])
    direction = rng.choice(
        [Random(feature), DecoderRow("tiny", feature), Vector([float(i % 5 - 2) for i in range(D)])]
    )
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
            ProjectOut(direction),
        ]
    )
    return replace(edit, positions=_positions(rng), when=_condition(rng), schedule=_schedule(rng))


def _intervention(rng: random.Random, given: Dictionary) -> Intervention:
    # Feature 0 was never active in the made-up statistics: its multiples are refused.
    features = rng.sample(range(1, WIDTH), rng.randint(1, 3))
    features += rng.choices(features, k=rng.randint(0, 1))
    edits = [_edit(rng, feature, given) for feature in features]
    error = rng.choice(["keep", "keep", "keep", "drop"])
    return Intervention("tiny", edits, error=error, conflicts="in_order")


@pytest.mark.parametrize("family", FAMILIES)
def test_random_interventions_in_every_way_of_running_equal_plain_python(family: str) -> None:
    """In one batch with and without a cache; and each by itself, streamed or not."""
    rng = random.Random(FAMILIES.index(family))
    model, given = tiny_model(family), dictionary("resid_post.1")
    interventions = [_intervention(rng, given) for _ in range(COUNT)]
    prompts = [rng.choice(PROMPTS) for _ in interventions]
    special = set(tokenizer().all_special_ids)
    options: dict[str, Any] = {
        "max_new_tokens": 4, "temperature": 0, "dictionaries": [given], "if_silent": "ignore"
    }  # fmt: skip
    for start in range(0, COUNT, 20):
        part = slice(start, start + 20)
        cached, uncached = (
            model.generate_batch(prompts[part], interventions[part], use_cache=use, **options)
            for use in (True, False)
        )
        for number, run in enumerate(cached, start=start):
            prompt, intervention = prompts[number], interventions[number]
            ids = tokenizer()(prompt)["input_ids"]
            wanted, _ = reference.greedy(
                plain_model(family), family, ids, 4, [intervention], [given], special, EOS
            )
            assert list(run.ids) == wanted, intervention
            others = [uncached[number - start]]
            if number % ALONE == 0:
                others.append(model.generate(prompt, intervention, **options))
            if number % ALONE == 1:
                others.append(model.stream(prompt, intervention, **options).result())
            for other in others:
                assert other.ids == run.ids, intervention
                assert other.baseline == run.baseline, intervention
                assert _acted(other) == _acted(run), intervention


def _acted(run: steer.Run) -> list[tuple[int, ...]]:
    return [entry.acted_tokens for entry in run.receipt]

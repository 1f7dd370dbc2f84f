"""The four words, from comparisons made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import steer
from steer.maths.statistics import Interval
from steer.verdicts.compare import Comparison, Effect, Harm, over_prompts
from steer.verdicts.decide import decide, prompts_needed
from steer.verdicts.protocol import Protocol

EDIT = steer.Intervention("resid_post.1", [steer.AddDirection(steer.Random(1), 2.0)])
PROTOCOL = Protocol(
    model="m",
    fingerprint="f",
    dtype="float32",
    intervention=EDIT,
    weights=None,
    wrong_site="resid_post.0",
    claim=None,
    prompts=(("a",),) * 20,
    wordings=("plain",),
    neutral=("a",),
    panel=(),
    asking="{words} {prompt}",
)


def around(mean: float, half: float, n: int = 20) -> Interval:
    return Interval(mean, mean - half, mean + half, n)


def effect(mean: float = 3.0) -> Effect:
    return Effect(around(mean, 0.5), {"plain": around(mean, 0.5)}, 0.0, 0.1)


def beside(name: str, mean: float, half: float, decisive: bool = True) -> Comparison:
    return Comparison(name, around(0, 1), None, around(mean, half), 1, decisive)


HARM = Harm("gender", 4.0, around(3, 1), 0.5, around(2.5, 1), harmed=True)
GOOD = [beside("random direction", 2.0, 0.5), beside("sign turned", 5.0, 0.5)]


def test_the_words() -> None:
    assert str(decide(effect(), GOOD, [], PROTOCOL)) == "steers"
    assert str(decide(effect(), GOOD, [HARM], PROTOCOL)) == "harms gender"
    worse = [beside("random direction", -0.1, 0.5), *GOOD[1:]]
    assert str(decide(effect(), worse, [HARM], PROTOCOL)) == "no better than random direction"
    open_ = [beside("random direction", 0.5, 1.0), *GOOD[1:]]
    assert str(decide(effect(), open_, [], PROTOCOL)) == "undecided: 60 more prompts would tell"
    told = [*GOOD, beside("wrong site", -1.0, 0.5, decisive=False)]
    assert str(decide(effect(), told, [], PROTOCOL)) == "steers"
    down = str(decide(effect(-3.0), GOOD, [], PROTOCOL))
    assert down == "no better than no edit (plain)"


def test_too_many_prompts_is_no_better() -> None:
    open_ = [beside("random direction", 0.5, 1.0), *GOOD[1:]]
    few = replace(PROTOCOL, most_prompts=79)
    assert str(decide(effect(), open_, [], few)) == "no better than random direction"


@pytest.mark.parametrize(("mean", "half", "needed"), [(0.5, 1.0, 80), (-1, 1, None), (0, 1, None)])
def test_how_many_prompts(mean: float, half: float, needed: int | None) -> None:
    assert prompts_needed(around(mean, half)) == needed


def test_the_number_of_prompts_would_tell() -> None:
    """Values of that spread, as many as were asked for: the interval leaves 0 by about nothing."""
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(20, generator=generator, dtype=torch.float64)
    few = (few - few.mean()) / few.std() + 0.3
    needed = prompts_needed(over_prompts(few, PROTOCOL))
    assert needed is not None
    many = few.repeat(-(-needed // 20))
    assert abs(over_prompts(many, PROTOCOL).low) < 0.06


def test_intervals_pay_for_all_comparisons() -> None:
    values = torch.arange(20, dtype=torch.float64)
    several = replace(PROTOCOL, wordings=("plain", "role"), prompts=(("a", "b"),) * 20)
    assert over_prompts(values, several).low < over_prompts(values, PROTOCOL).low

"""A screen's estimates are derivatives, what it reports is exact, and what it left out it says."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import steer
from steer.effects.metric import Metric, as_metrics
from steer.effects.sweep.prepared import prepare
from steer.effects.sweep.remembered import SHARE, Chosen, Remembered
from steer.effects.sweep.screen import estimates
from steer.effects.sweep.units import Asked
from steer.errors import SteerError
from steer.maths.statistics import benjamini_hochberg
from tests.support import tiny

DIFFERENCE = steer.LogitDifference("w5", "w6")
SMALL = 1e-3


@pytest.mark.parametrize("hookpoint", ["resid_post.1", "mlp_out.1", "resid_pre.0"])
@pytest.mark.parametrize("metric", [DIFFERENCE, steer.LogProbability("w9"), "loss", "kl"])
def test_estimates_are_the_effects_of_small_edits(hookpoint: str, metric: Metric | str) -> None:
    model = tiny.tiny_model("llama", torch.float64)
    dictionary = tiny.dictionary(hookpoint)
    (measure,) = as_metrics(model, metric, 1)
    edit = partial(steer.Scale, factor=1 + SMALL)
    ready = prepare(model, tiny.PROMPT, 0, measure, dictionary, "active", edit, "1:")
    guess = estimates(ready, draws=4000)
    sets = [(i,) for i in range(len(ready.features))]
    exact = ready.effects(ready.deltas(sets))
    scale = exact.abs().max()
    assert scale > 0
    torch.testing.assert_close(guess / scale, exact / scale, rtol=0.02, atol=5e-3)


@pytest.mark.parametrize("metric", [DIFFERENCE, "kl"])
def test_what_is_reported_is_exact_and_the_rest_is_counted(
    metric: Metric | str, tmp_path: Path
) -> None:
    model, dictionary, file = tiny.tiny_model("llama"), tiny.dictionary(), tmp_path / "rows"
    sweep = partial(steer.ablation_sweep, model, tiny.PROMPTS, dictionary, metric=metric)
    whole = sweep()
    screened = sweep(screen=steer.Screen(top=4, most=0.6), file=file)
    assert screened.screened is not None
    assert screened.screened.run == len(screened.features) < len(whole.features)
    assert screened.screened.run + screened.screened.left_out == len(whole.features)
    place = {(row["prompt"], row["feature"]): row["effect"] for row in whole.rows}
    for row in screened.rows:
        assert row["effect"] == pytest.approx(place[row["prompt"], row["feature"]], abs=2e-5)
    frame = screened.frame
    alone = benjamini_hochberg(torch.tensor(frame["p"].to_numpy()))
    assert (torch.tensor(frame["q"].to_numpy()) >= alone - 1e-12).all()
    assert screened.to_dict()["screened"]["left_out"] == screened.screened.left_out
    assert str(screened.screened) in repr(screened)
    again = sweep(screen=steer.Screen(top=4, most=0.6), file=file)
    assert again.rows == screened.rows
    with pytest.raises(SteerError, match="differs in screen"):
        sweep(file=file)


def test_a_screen_that_may_cost_all_runs_what_could_be_among_the_top() -> None:
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary()
    sweep = partial(steer.ablation_sweep, model, tiny.PROMPTS, dictionary, metric=DIFFERENCE)
    whole = sweep()
    screened = sweep(screen=steer.Screen(top=5, most=1.0))
    assert screened.largest(5) == whole.largest(5)
    every = sweep(screen=steer.Screen(top=tiny.WIDTH, most=1.0))
    assert every.features == whole.features
    assert every.screened is not None
    assert every.screened.sure


def test_bad_screens() -> None:
    with pytest.raises(SteerError, match="top=0"):
        steer.Screen(top=0)
    with pytest.raises(SteerError, match="most=2"):
        steer.Screen(most=2)
    with pytest.raises(SteerError, match="leave one of the two out"):
        steer.ablation_sweep(
            tiny.tiny_model("llama"),
            tiny.PROMPT,
            tiny.dictionary(),
            screen=steer.Screen(),
            shard="1/2",
            file="x",
        )


def asked_of(model: steer.Model, budget: int = 2**26) -> Asked:
    measures = tuple(as_metrics(model, "kl", len(tiny.PROMPTS)))
    return Asked(
        tuple(tiny.PROMPTS), measures, tiny.dictionary(), "active", steer.Ablate, "1:", budget, 256
    )


def test_whether_a_prompt_is_remembered_changes_no_bit() -> None:
    model = tiny.tiny_model("llama")
    here = Remembered(asked_of(model))
    ready, _ = here.ready(model, 0)
    assert here.ready(model, 0)[0] is ready
    sent = pickle.loads(pickle.dumps(here))
    assert not sent.there
    some = replace(here.asked, features=ready.features[::3])
    known, fresh = (Chosen(some, remembered=each).open(model, 0).rows(0) for each in (here, sent))
    assert known == fresh
    assert [row["feature"] for row in known] == ready.features[::3]


def test_no_more_is_remembered_than_a_share_of_the_budget() -> None:
    model = tiny.tiny_model("llama")
    small = Remembered(asked_of(model, budget=SHARE - 1))
    small.ready(model, 0)
    assert not small.there

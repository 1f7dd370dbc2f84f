"""A screen's estimates are derivatives, what it reports is exact, and what it left out it says."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

import steer
from steer.effects.metric import Metric, as_metrics
from steer.effects.sweep.prepared import prepare
from steer.effects.sweep.screen import estimates
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
    found = sweep(screen=steer.Screen(top=4, most=0.6), file=file)
    assert found.screened is not None
    assert found.screened.run == len(found.features) < len(whole.features)
    assert found.screened.run + found.screened.left_out == len(whole.features)
    place = {(row["prompt"], row["feature"]): row["effect"] for row in whole.rows}
    for row in found.rows:
        assert row["effect"] == pytest.approx(place[row["prompt"], row["feature"]], abs=2e-5)
    frame = found.frame
    alone = benjamini_hochberg(torch.tensor(frame["p"].to_numpy()))
    assert (torch.tensor(frame["q"].to_numpy()) >= alone - 1e-12).all()
    assert found.to_dict()["screened"]["left_out"] == found.screened.left_out
    assert str(found.screened) in repr(found)
    again = sweep(screen=steer.Screen(top=4, most=0.6), file=file)
    assert again.rows == found.rows
    with pytest.raises(SteerError, match="differs in screen"):
        sweep(file=file)


def test_a_screen_that_may_cost_all_runs_what_could_be_among_the_top() -> None:
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary()
    sweep = partial(steer.ablation_sweep, model, tiny.PROMPTS, dictionary, metric=DIFFERENCE)
    whole = sweep()
    found = sweep(screen=steer.Screen(top=5, most=1.0))
    assert found.largest(5) == whole.largest(5)
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

"""Plans count what there is: parameters, operations and bytes; rates are of the very work."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import steer
from dictionaries.training.config import TrainConfig
from steer.costs.accelerators import SHARE, TABLE, accelerators
from steer.costs.plan import GIB, Plan
from steer.costs.rates import harvest_rate, sweep_rate, train_rate
from steer.costs.shape import PUBLISHED, Shape
from steer.costs.work import harvest_work, sweep_work, train_work
from steer.errors import ModelError, SteerError
from tests.support import tiny

BILLIONS = {"8B": 8.03, "70B": 70.55, "405B": 405.85}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_models_are_as_large_as_they_are_said_to_be(name: str) -> None:
    shape = Shape.of(name)
    assert shape.parameters / 1e9 == pytest.approx(BILLIONS[name.rpartition("-")[2]], rel=0.002)


def test_a_shape_is_that_of_the_model(model_folder: Callable[[], Path]) -> None:
    folder = model_folder()
    module = tiny.build("llama")
    shape = Shape.of(str(folder))
    assert shape.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert (shape.d, shape.depth, shape.vocabulary) == (tiny.D, tiny.LAYERS, tiny.VOCABULARY)


def test_operations_are_those_that_torch_counts(model_folder: Callable[[], Path]) -> None:
    """But for the causal half of attention, which torch counts whole."""
    shape, tokens = Shape.of(str(model_folder())), 24
    module = tiny.build("llama")
    module.config._attn_implementation = "eager"
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        module(torch.randint(3, 90, (1, tokens)), use_cache=False)
    planned = shape.block_flops(shape.depth, tokens, tokens) + tokens * shape.unembedding_flops
    assert planned == pytest.approx(counted.get_total_flops(), rel=0.02)


def test_a_million_features_of_a_large_model() -> None:
    shape = Shape.of("meta-llama/Llama-3.1-70B")
    asked = {"prompts": 100, "features": 1_000_000, "tokens": 64, "width": 2**20}
    work = sweep_work(shape, **asked, layer=40, dtype="bfloat16", budget=2**30)
    assert work.model_bytes == 2 * shape.parameters
    plan = Plan(work, None, TABLE)
    assert plan.hours_here is None
    frame = plan.frame.set_index("machine")
    for each in TABLE:
        cards = frame.loc[each.name, "cards"]
        assert (cards - 1) * each.gib * 0.9 * GIB < plan.bytes <= cards * each.gib * 0.9 * GIB
        hours = plan.flops / (cards * each.teraflops * 1e12 * SHARE) / 3600
        assert frame.loc[each.name, "hours"] == pytest.approx(hours)
        assert frame.loc[each.name, "machines"] == math.ceil(hours / 24)
    twice = sweep_work(shape, **{**asked, "prompts": 200}, layer=40, dtype="bfloat16", budget=2**30)
    assert Plan(twice, None, TABLE).flops == 2 * plan.flops
    later = sweep_work(shape, **asked, layer=79, dtype="bfloat16", budget=2**30)
    assert later.flops == shape.unembedding_flops  # no block is behind the last site


def test_rates_are_measured_and_make_hours(llama: steer.Model) -> None:
    shape = Shape("tiny", 1, 1, tiny.D, tiny.LAYERS, tiny.VOCABULARY)
    rates = {
        "rows": sweep_rate(llama, tiny.dictionary(), 12, features=16),
        "tokens": harvest_rate(llama, ["resid_post.1"], 16, batch=2),
        "samples": train_rate(tiny.D, TrainConfig(width=48, k=4, batch=32, samples=64)),
    }
    works = {
        "rows": sweep_work(
            shape, prompts=2, features=9, tokens=12, layer=1, width=48, dtype="float32", budget=1
        ),
        "tokens": harvest_work(shape, tokens=5000, layer=1, sites=2, context=16, dtype="float32"),
        "samples": train_work(tiny.D, samples=900, width=48, k=4, batch=32),
    }
    for unit, rate in rates.items():
        assert works[unit].unit == unit
        assert rate.units_a_second > 0
        assert rate.sample > 0
        hours = Plan(works[unit], rate, ()).hours_here
        assert hours == pytest.approx((rate.once + works[unit].units / rate.units_a_second) / 3600)
    assert rates["samples"].once >= 0 == rates["rows"].once
    assert works["tokens"].disk_bytes == 5000 * tiny.D * 2 * 2


def test_the_threshold_of_a_small_corpus_is_set_on_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock that says 1 second, then 3 for 4 steps and 8 for 24: 2 are spent once."""
    config = TrainConfig(width=48, k=4, batch=32, samples=64_000)
    rates = []
    for there in (None, 64):
        clock = iter((0.0, 1.0, 1.0, 4.0, 4.0, 12.0))
        monkeypatch.setattr("steer.costs.rates._processor", lambda now=clock: next(now))
        rates.append(train_rate(tiny.D, config, there))
    assert [rate.once for rate in rates] == [2 * 64_000 / 128, 2 * 64 / 128]
    assert rates[0].units_a_second == rates[1].units_a_second == 20 * 32 / 5


def test_wrong_plans() -> None:
    shape = Shape("tiny", 1, 1, 32, 3, 96)
    with pytest.raises(SteerError, match="blocks 0 to 2, not 3"):
        harvest_work(shape, tokens=5, layer=3, sites=1, context=8, dtype="float32")
    with pytest.raises(SteerError, match="samples=0"):
        train_work(32, samples=0, width=48, k=4, batch=32)
    with pytest.raises(SteerError, match=r"'TPU' is unknown; allowed: .*H100"):
        accelerators("TPU")
    with pytest.raises(ModelError, match="config of 'nowhere' can't be read"):
        Shape.of("nowhere")

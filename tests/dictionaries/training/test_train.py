"""The trainer: planted features, determinism, and taking up where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dictionaries.architectures import BatchTopK, ReLU, TopK
from dictionaries.dictionary import Dictionary
from dictionaries.errors import TrainingError
from dictionaries.measures.quality import quality
from dictionaries.training.loss import batch_loss, update
from dictionaries.training.state import TrainState, initialise
from dictionaries.training.train import Step, TrainConfig, train
from tests.dictionaries.training.planted import ABOUT, SMALL, K, M, every_setting, planted


@every_setting
def test_planted_features_are_found(settings: dict[str, Any]) -> None:
    x, rows = planted()
    dictionary = train(x, replace(SMALL, samples=400 * 256, **settings), ABOUT)
    best = (rows @ dictionary.W_dec.T).amax(1)
    assert best.mean() > 0.9
    assert (best > 0.9).float().mean() > 0.75
    assert quality(dictionary, x).fvu < 0.15


@every_setting
def test_what_is_returned(settings: dict[str, Any]) -> None:
    x, _ = planted()
    dictionary = train(x, replace(SMALL, **settings), ABOUT)
    expected = {"batchtopk": BatchTopK, "topk": TopK, "standard": ReLU}[settings["architecture"]]
    assert type(dictionary) is expected
    assert dictionary.config == ABOUT
    torch.testing.assert_close(dictionary.W_dec.norm(dim=-1), torch.ones(M))
    assert all(getattr(dictionary, name).isfinite().all() for name in dictionary.tensor_names())
    assert not any(getattr(dictionary, name).requires_grad for name in dictionary.tensor_names())
    assert torch.equal(dictionary.W_enc, dictionary.W_dec.T) == settings.get("tied", False)


@pytest.mark.parametrize("size", [1e-2, 1.0, 1e3])
def test_units_are_those_of_the_activations(size: float) -> None:
    x, _ = planted()
    plain, scaled = (train(part, SMALL, ABOUT) for part in (x, x * size))
    torch.testing.assert_close(scaled.W_dec, plain.W_dec, atol=1e-2, rtol=1e-2)
    ours, theirs = scaled.reconstruct(x * size) / size, plain.reconstruct(x)
    assert (ours - theirs).square().mean() < 1e-3 * theirs.var()


def fainted(config: TrainConfig, x: Tensor, rows: Tensor) -> TrainState:
    """The planted dictionary, but half of its features never reach the top k: all dead."""
    state = initialise(x, config)
    with torch.no_grad():
        state.weights["W_dec"].copy_(rows)
        state.weights["W_enc"].copy_(rows.T)
        state.weights["W_enc"][:, ::2] *= 0.005
    state.idle[::2] = config.dead_after + 1
    return state


@pytest.mark.parametrize(("aux_weight", "revived"), [(0.0, False), (1 / 32, True)])
def test_auxk_revives_dead_features_that_are_needed(aux_weight: float, revived: bool) -> None:
    x, rows = planted()
    x = x - x.mean(0)
    config = replace(SMALL, architecture="topk", aux_weight=aux_weight, dead_after=200_000)
    state = fainted(config, x, rows)
    steps = 300
    for step in range(steps):
        batch = x[torch.arange(step * 256, (step + 1) * 256) % len(x)] * state.scale
        loss, _, active = batch_loss(batch, state, config)
        update(loss, state, config, steps)
        state.idle[active > 0] = 0
    dead = (state.idle > config.dead_after).float().mean().item()
    assert (dead == 0) == revived


def test_auxk_does_not_cost_faithfulness_where_features_are_superfluous() -> None:
    """They stay silent: what they are given to explain is too little to reach the top k."""
    x, _ = planted()
    config = replace(SMALL, architecture="topk", width=3 * M, samples=400 * 256)
    about = replace(ABOUT, width=3 * M)
    without, with_aux = (
        quality(train(x, replace(config, aux_weight=weight), about), x) for weight in (0.0, 1 / 32)
    )
    assert with_aux.fvu < without.fvu * 1.1
    assert with_aux.dead_share > without.dead_share


def test_the_threshold_gives_k_features_on_average() -> None:
    x, _ = planted()
    assert quality(train(x, SMALL, ABOUT), x).l0 == pytest.approx(K, rel=0.02)


def test_a_heavier_l1_gives_fewer_active_features() -> None:
    x, _ = planted()
    l0 = [
        quality(train(x, replace(SMALL, architecture="standard", l1=l1), ABOUT), x).l0
        for l1 in (0.0, 0.3, 1.0)
    ]
    assert l0[0] > l0[1] > l0[2]


def test_half_precision_activations() -> None:
    x, _ = planted()
    assert quality(train(x.to(torch.bfloat16), SMALL, ABOUT), x).fvu < 0.3


def equal(one: Dictionary, other: Dictionary) -> bool:
    return all(torch.equal(getattr(one, n), getattr(other, n)) for n in one.tensor_names())


@every_setting
def test_the_same_seed_gives_the_same_dictionary(settings: dict[str, Any]) -> None:
    x, _ = planted()
    config = replace(SMALL, samples=30 * 256, **settings)
    one = train(x, config, ABOUT)
    torch.manual_seed(99)
    assert equal(train(x, config, ABOUT), one)
    assert not equal(train(x, replace(config, seed=1), ABOUT), one)


class Interrupted(Exception):
    """Raised by a report, in the middle of training."""


@every_setting
def test_it_is_taken_up_where_it_stopped(settings: dict[str, Any], tmp_path: Path) -> None:
    x, _ = planted()
    config, file = replace(SMALL, **settings), tmp_path / "checkpoint"

    def interrupt(step: Step) -> None:
        if step.number == 60:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(x, config, ABOUT, checkpoint=file, checkpoint_every=25, report=interrupt)
    seen: list[int] = []
    resumed = train(x, config, ABOUT, checkpoint=file, report=lambda step: seen.append(step.number))
    assert seen == [60, 80, 100]
    assert equal(resumed, train(x, config, ABOUT))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_checkpoint_of_another_config(tmp_path: Path) -> None:
    x, _ = planted()
    options: dict[str, Any] = {"checkpoint": tmp_path / "checkpoint", "checkpoint_every": 10}
    config = replace(SMALL, samples=20 * 256)
    train(x, config, ABOUT, **options)
    for other in (replace(config, k=4), replace(config, seed=1)):
        with pytest.raises(TrainingError, match="checkpoint of another config"):
            train(x, other, ABOUT, **options)
    with pytest.raises(TrainingError, match="checkpoint of another config"):
        train(x[:, :8], config, replace(ABOUT, d_in=8), **options)


def test_reports() -> None:
    x, _ = planted()
    steps: list[Step] = []
    train(x, SMALL, ABOUT, report=steps.append)
    assert [step.number for step in steps] == [20, 40, 60, 80, 100]
    assert {step.total for step in steps} == {100}
    assert steps[-1].fvu < steps[0].fvu
    assert steps[-1].l0 == pytest.approx(K, abs=0.1)
    assert all(0 <= step.dead <= 1 for step in steps)

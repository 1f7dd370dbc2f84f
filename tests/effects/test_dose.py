"""Doses: a batch of doses is each dose alone, and nothing happens at no dose."""

from __future__ import annotations

import pytest
import torch

import steer
from steer.effects.dose import dose_response
from steer.effects.metric import LogitDifference
from steer.effects.sweep import ablation_sweep
from steer.errors import SteerError
from tests import tiny

METRIC = LogitDifference("w5", "w6")


def test_each_dose_is_the_edit_alone(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    feature = tiny.active_features(llama, dictionary)[1]
    found = dose_response(
        llama, tiny.PROMPTS, dictionary, feature, [-2.0, 0.0, "1x max"], metric=METRIC
    )
    ablated = ablation_sweep(llama, tiny.PROMPTS, dictionary, [feature], metric=METRIC)
    own = torch.zeros(3, dtype=torch.float64)
    for row in ablated.rows:
        own[row["prompt"]] = row["effect"]
    assert torch.allclose(found.effect[1], own, atol=2e-5)
    assert (found.kl >= -1e-6).all()
    assert list(found.to_frame()["dose"]) == [-2.0, 0.0, "1x max"]


def test_no_change_is_no_effect(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    found = dose_response(llama, tiny.PROMPTS, dictionary, 5, [0.0, 2.0], edit=steer.Add)
    assert found.kl[0].abs().max() < 1e-6
    assert found.delta_ce[0].abs().max() < 1e-6
    assert not found.relative_dose[0].any()
    assert found.strongest(budget=1e9) == 2.0
    assert found.strongest(budget=-1.0) is None


def test_no_doses(llama: steer.Model) -> None:
    with pytest.raises(SteerError, match="no doses"):
        dose_response(llama, tiny.PROMPT, tiny.dictionary(), 5, [])

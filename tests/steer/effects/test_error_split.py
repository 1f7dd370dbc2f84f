"""Splitting an effect between a later dictionary's features and its error, at the two extremes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dictionaries import baselines
from steer.edits import Clamp, Intervention
from steer.effects.logits.error_split import error_split
from steer.errors import InterventionError
from tests.support.tiny import PROMPTS, WIDTH, D, dictionary, tiny_model

EARLY = replace(dictionary("resid_post.0"), name="early")
EDIT = Intervention("early", [Clamp(5, 4.0)])


def test_a_dictionary_that_explains_everything_leaves_nothing_to_the_error() -> None:
    whole = replace(
        baselines.neurons(D), name="late",
        config=replace(baselines.neurons(D).config, hookpoint="resid_post.1"),
    )  # fmt: skip
    split = error_split(tiny_model("llama"), PROMPTS, EDIT, "late", dictionaries=[EARLY, whole])
    assert split.total.abs().max() > 0.1
    torch.testing.assert_close(split.through_features, split.total, rtol=1e-3, atol=1e-4)
    assert split.share_on_error.max() < 1e-6


def test_a_dictionary_that_never_fires_leaves_everything_to_the_error() -> None:
    never = {"threshold": torch.full((WIDTH,), 1e6)}
    silent = replace(dictionary("resid_post.1"), name="late", **never)  # type: ignore[arg-type]
    split = error_split(tiny_model("llama"), PROMPTS, EDIT, "late", dictionaries=[EARLY, silent])
    assert split.through_features.abs().max() < 1e-4
    assert split.kl_features.max() < 1e-6
    assert split.share_on_error.min() > 1 - 1e-6


def test_the_later_dictionary_must_be_later() -> None:
    late = replace(dictionary("resid_post.0", seed=9), name="late")
    with pytest.raises(InterventionError, match="behind every edit"):
        error_split(tiny_model("llama"), PROMPTS, EDIT, "late", dictionaries=[EARLY, late])

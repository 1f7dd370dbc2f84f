"""Patching and frozen paths on the default model and its shipped dictionaries."""

from __future__ import annotations

import pytest
import torch

import steer
from steer.effects.passes.edited import edited_prompts
from steer.effects.patching.patching import prompt_pairs
from steer.effects.paths.path_effects import DIRECT, frozen_logits
from steer.lm.unembedding import direct_logits, norm_of

BASE = "When Mary and John went to the store, John gave a drink to"
TARGET = "When Mary and John went to the store, Mary gave a drink to"


@pytest.fixture(scope="session")
def smollm() -> steer.Model:
    return steer.load("smollm2-135m", device="cpu")


@pytest.mark.parametrize("site", ["resid_post.10", "resid_post.20"])
def test_patching_everything_gives_the_target(smollm: steer.Model, site: str) -> None:
    dictionary = smollm.dictionary(f"smollm2-135m/{site}")
    (pair,) = prompt_pairs(smollm, BASE, TARGET, dictionary, error="patch")
    none, every = pair.logits([(), pair.nodes])
    assert torch.equal(none, pair.clean.logits[-1])
    # 1e-5 of the logits' own size: their last bits depend on the shape of the batch.
    assert (every - pair.goal).norm() < 1e-5 * pair.goal.norm()
    assert smollm.token(int(none.argmax())) == " Mary"
    assert smollm.token(int(every.argmax())) == " John"


def test_with_everything_frozen_the_effect_is_direct(smollm: steer.Model) -> None:
    dictionary = smollm.dictionary("smollm2-135m/resid_post.20")
    edit = steer.Intervention(dictionary.name, [steer.Clamp(1176, "2x max")])
    last, norm = smollm.last_site, norm_of(smollm)
    for prompt in edited_prompts(smollm, [BASE], edit, [dictionary], others=[last]):
        site = smollm.site("resid_post.20")
        clean, edited = frozen_logits(prompt.clean, prompt.delta.unsqueeze(0), site, DIRECT)
        scale = norm.scale(prompt.clean.others[last][-1])
        expected = direct_logits(smollm, prompt.delta[-1:])[0] / scale
        assert (edited - clean - expected).norm() < 1e-4 * expected.norm()

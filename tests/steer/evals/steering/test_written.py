"""How much likelier a feature's tokens become: by its definition, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import steer
from dictionaries.errors import DictionaryError
from steer.errors import SteerError
from steer.evals.steering.written import with_written, written
from tests.support import tiny

PROMPTS = ("w7 w31 w12", "w20 w3")
SITE = "resid_post.1"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_by_an_edit_of_the_library(family: str) -> None:
    """Adding the row's unit direction to half the norm, at every token but the first."""
    model = tiny.tiny_model(family)
    sae = replace(tiny.dictionary(SITE), statistics=tiny.statistics(tiny.WIDTH))
    assert sae.statistics is not None
    features = [3, 11]
    found = written(model, sae, features, prompts=PROMPTS)
    for place, feature in enumerate(features):
        row = steer.Vector(tuple(sae.W_dec[feature].tolist()))
        edit = steer.Intervention(SITE, [steer.AddDirection(row, "0.5x norm", positions="1:")])
        ids = sae.statistics.promoted[feature]
        rises = []
        for prompt in PROMPTS:
            effect = steer.logit_effect(model, [prompt], edit, draws=0)
            before = model.logits(*model.tokenize([prompt]))[0, -1].double().log_softmax(-1)
            after = (before + effect.delta_logprob[0].double()).exp()
            before = before.exp()
            rises.append((after[ids] - before[ids]).sum())
        assert found[place].item() == pytest.approx(torch.stack(rises).mean().item(), abs=1e-5)


def test_a_push_of_nothing_writes_nothing() -> None:
    model = tiny.tiny_model("llama")
    sae = replace(tiny.dictionary(SITE), statistics=tiny.statistics(tiny.WIDTH))
    found = written(model, sae, prompts=PROMPTS, dose=0.0)
    torch.testing.assert_close(found, torch.zeros(tiny.WIDTH), atol=1e-6, rtol=0)
    every = written(model, sae, prompts=PROMPTS)
    torch.testing.assert_close(every[[9, 3]], written(model, sae, [9, 3], prompts=PROMPTS))


def test_statistics_take_it_along() -> None:
    model, known = tiny.tiny_model("llama"), tiny.statistics(tiny.WIDTH)
    sae = tiny.dictionary(SITE)
    found = with_written(model, sae, known).written
    assert found is not None
    torch.testing.assert_close(found, written(model, replace(sae, statistics=known)))
    nameless = replace(known, promoted_logits=known.promoted_logits * 0)
    assert with_written(model, sae, nameless) is nameless


def test_what_is_refused() -> None:
    model, sae = tiny.tiny_model("llama"), tiny.dictionary(SITE)
    with pytest.raises(DictionaryError, match="no statistics that say"):
        written(model, replace(sae, statistics=None))
    known = replace(sae, statistics=tiny.statistics(tiny.WIDTH))
    with pytest.raises(DictionaryError, match="out of range"):
        written(model, known, [tiny.WIDTH])
    with pytest.raises(SteerError, match="one or more prompts"):
        written(model, known, prompts=())

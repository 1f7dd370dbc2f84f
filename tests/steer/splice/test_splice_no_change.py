"""Laws of an edit that changes nothing: O1 and O5, to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

import steer
from dictionaries.architectures import ReLU
from tests.support import tiny
from tests.support.passes import SITE, by_hand, hooks, intervention, same, steered
from tests.support.tiny import PROMPT, PROMPTS


def test_o1_asking_for_what_is_there_is_bit_equal(model: steer.Model, untouched: Any) -> None:
    sae = tiny.dictionary(SITE)
    features = tiny.active_features(model, sae)[:4]
    probe = [steer.Clamp(f, 9.0, positions=p) for f in features for p in range(6)]
    edited = steered(model, intervention(*probe), sae)
    before = [entry.tokens[0].before for entry in edited.receipts[0]]
    what_is = [replace(edit, value=value) for edit, value in zip(probe, before, strict=True)]
    clean = by_hand(untouched, model)
    assert same(steered(model, intervention(*what_is), sae), clean)
    assert not same(edited, clean)


NO_OPS = {
    "scale 1": steer.Scale(5, 1),
    "add 0": steer.Add(5, 0),
    "floor below": steer.Floor(5, -1),
    "cap above": steer.Cap(5, 1e9),
    "no such position": steer.Clamp(5, 9, positions=40),
    "empty slice": steer.Clamp(5, 9, positions=slice(3, 3)),
}


@pytest.mark.parametrize("edit", NO_OPS.values(), ids=NO_OPS.keys())
def test_o5_no_ops_are_bit_equal(edit: steer.Edit, model: steer.Model, untouched: Any) -> None:
    edited = steered(model, intervention(edit), tiny.dictionary(SITE), PROMPTS)
    assert same(edited, by_hand(untouched, model, prompts=PROMPTS))


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_o5_no_ops_of_each_architecture(architecture: str, llama: steer.Model) -> None:
    edited = steered(llama, intervention(steer.Scale(5, 1)), tiny.dictionary(SITE, architecture))
    assert same(edited, by_hand(tiny.plain_model("llama"), llama))


def test_o5_no_interventions_at_all(model: steer.Model, untouched: Any) -> None:
    assert same(steered(model, [], []), by_hand(untouched, model))


def test_o5_a_run_leaves_the_model_as_it_was(model: steer.Model, untouched: Any) -> None:
    before, clean = hooks(model.module), by_hand(untouched, model)
    sae, edit = tiny.dictionary(SITE), intervention(steer.Clamp(5, 9))
    assert not same(steered(model, edit, sae), clean)
    model.generate(PROMPT, edit, max_new_tokens=3, dictionaries=[sae])
    assert hooks(model.module) == before
    assert same(by_hand(model.module, model), clean)


class Broken(ReLU):
    """Raises in the middle of a forward pass."""

    def activate(self, pre: Tensor) -> Tensor:
        raise ArithmeticError("broken on purpose")


def test_o5_an_exception_in_a_run_leaves_the_model_as_it_was(
    model: steer.Model, untouched: Any
) -> None:
    before, clean = hooks(model.module), by_hand(untouched, model)
    sae, edit = tiny.dictionary(SITE, "standard"), intervention(steer.Clamp(5, 9))
    broken = Broken(sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, sae.config, "tiny")
    with pytest.raises(ArithmeticError, match="broken on purpose"):
        steered(model, edit, broken)
    with pytest.raises(ArithmeticError, match="broken on purpose"):
        model.generate(PROMPT, edit, max_new_tokens=3, dictionaries=[broken])
    assert hooks(model.module) == before
    assert same(by_hand(model.module, model), clean)
    run = model.generate(PROMPT, edit, max_new_tokens=3, dictionaries=[sae])
    assert run.receipt[0].acted

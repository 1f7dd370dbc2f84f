"""Every result says what became of what the dictionary does not explain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import steer
from steer.effects.attribution.attribution import attribution
from steer.effects.controls.controls import controls
from steer.effects.dose.dose_response import dose_response
from steer.effects.downstream.downstream import downstream
from steer.effects.metric import LogitDifference
from steer.effects.patching.patching import node_effects, prompt_pairs
from steer.effects.paths.path_effects import path_effects
from steer.effects.sweep.ablation_sweep import ablation_sweep, pair_sweep
from steer.effects.tree.causal_tree import causal_tree
from tests.support import tiny
from tests.support.tiny import PROMPT, PROMPTS

GIVEN = tiny.dictionary()
LATER = replace(tiny.dictionary("resid_post.2"), name="later")
METRIC = LogitDifference("w20", "w21")
BARE = [replace(each, statistics=None) for each in (LATER, GIVEN)]


def edit(error: Any) -> steer.Intervention:
    return steer.Intervention("tiny", [steer.Clamp(5, 9.0)], error=error)


KEPT: dict[str, Callable[[steer.Model], Any]] = {
    "sweep": lambda m: ablation_sweep(m, PROMPT, GIVEN),
    "pairs": lambda m: pair_sweep(m, PROMPT, GIVEN, tiny.active_features(m, GIVEN)[:2]),
    "attribution": lambda m: attribution(m, PROMPT, GIVEN, METRIC),
    "doses": lambda m: dose_response(m, PROMPT, GIVEN, 5, [1.0]),
    "tree": lambda m: causal_tree(m, BARE, 5, PROMPTS, contexts=2),
}
CHOSEN: dict[str, Callable[[steer.Model, str], Any]] = {
    "controls": lambda m, error: controls(m, [PROMPT], edit(error), dictionaries=[GIVEN]),
    "paths": lambda m, error: path_effects(m, PROMPT, edit(error), dictionaries=[GIVEN]),
}


@pytest.mark.parametrize("result", KEPT.values(), ids=KEPT.keys())
def test_single_features_are_edited_with_the_error_kept(
    result: Callable[[steer.Model], Any], llama: steer.Model
) -> None:
    found = result(llama)
    assert found.error == "keep"
    if hasattr(found, "to_dict"):
        assert found.to_dict()["error"] == "keep"


@pytest.mark.parametrize("error", ["keep", "drop", "frozen"])
@pytest.mark.parametrize("result", CHOSEN.values(), ids=CHOSEN.keys())
def test_an_interventions_own_policy_is_named(
    result: Callable[[steer.Model, str], Any], error: str, llama: steer.Model
) -> None:
    assert result(llama, error).error == error


@pytest.mark.parametrize("error", ["keep", "drop"])
def test_what_holds_the_intervention_names_its_policy(error: str, llama: steer.Model) -> None:
    changes = downstream(llama, PROMPT, edit(error), LATER, dictionaries=[GIVEN])
    assert steer.Intervention.from_json(changes.intervention).error == error
    effect = steer.logit_effect(llama, PROMPT, edit(error), dictionaries=[GIVEN], draws=0)
    assert effect.interventions[0].error == effect.receipts[0][0].error == error


@pytest.mark.parametrize("error", ["keep", "patch"])
def test_patched_nodes_name_the_error_of_their_pairs(error: str, llama: steer.Model) -> None:
    pairs = prompt_pairs(llama, ["w7 w31 w12"], ["w7 w33 w12"], GIVEN, error=error)
    assert node_effects(pairs).error == error


def test_an_intervention_of_the_error_term_alone_is_told_everywhere(llama: steer.Model) -> None:
    alone = steer.Intervention("tiny", [], error="drop")
    plan = llama.explain(alone, dictionaries=[GIVEN], prompt=PROMPT)
    assert plan.forecast is not None
    assert plan.forecast.kl.value > 0
    assert plan.forecast.unembedding == ()  # no fixed direction is added
    assert "unembedding" not in str(plan)
    run = llama.generate(PROMPT, alone, dictionaries=[GIVEN], max_new_tokens=4)
    assert "tiny: no edits; error drop" in repr(run)
    plain = llama.generate(PROMPT, [], max_new_tokens=4)
    assert plain.text == plain.baseline.text
    assert "edited" not in repr(plain)

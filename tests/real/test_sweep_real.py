"""A sweep of the default model is one forward pass a feature, to 1e-5 of each effect.

transformers computes Llama's norms in fp32 in a model of any dtype, so that now and then a rounding
falls the other way: of 2,840 effects of 20 prompts, one then differed by more (1e-7 of 5e-4); with
norms in fp64 none does (3e-10 of that effect).
"""

from __future__ import annotations

import pytest

import steer
from steer.effects.defaults import TEXT
from steer.effects.metric import LogitDifference
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.splice import passes

PROMPT = "The capital of France is"
NAME = "smollm2-135m/resid_post.20"


def test_rows_are_the_features_alone() -> None:
    model = steer.load("smollm2-135m", dtype="float64", device="cpu")
    dictionary = model.dictionary(NAME)
    sweep = ablation_sweep(model, PROMPT, dictionary, metric=LogitDifference(" Paris", " Lyon"))
    assert len(sweep) > 50
    ids, mask = model.tokenize([PROMPT])
    span = model.span(ids, mask)
    answer, other = model.token_id(" Paris"), model.token_id(" Lyon")

    def difference(edits: list[steer.Edit]) -> float:
        plans = model.plans([steer.Intervention(NAME, edits)], [dictionary]) if edits else []
        last = passes.logits(model.nn, ids, span, plans)[0][0, -1]
        return (last[answer] - last[other]).item()

    clean = difference([])
    for row in sweep.rows[:: len(sweep) // 8]:
        alone = difference([steer.Ablate(row["feature"], positions=TEXT)]) - clean
        assert row["effect"] == pytest.approx(alone, rel=1e-5, abs=1e-12)

"""Edits as a user gives them: the first generated token, tokens by id, gauges, what is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from dictionaries.architectures import JumpReLU
from steer.edits import Clamp, Intervention
from steer.effects.metric import LogitDifference
from steer.splice import passes
from tests.support import tiny
from tests.support.tiny import EOS, PROMPT, dictionary


def residual(model: steer.Model, edit: steer.Edit, given: Any) -> torch.Tensor:
    """Δ at the site on PROMPT, [s, d]."""
    ids, mask = model.tokenize([PROMPT])
    plans = model.plans([Intervention("tiny", [edit])], [given])
    clean = passes.logits(model.nn, ids, model.span(ids, mask), [])[0]
    edited = passes.logits(model.nn, ids, model.span(ids, mask), plans)[0]
    return (edited - clean)[0]


def test_generated_changes_the_first_generated_token(model: steer.Model) -> None:
    """Its logits come from the prompt's last position, which the prefill reads."""
    edit = Intervention("tiny", [Clamp(5, 60.0, positions="generated")])
    run = model.generate(
        PROMPT, edit, max_new_tokens=1, temperature=0, watch=["w9"], dictionaries=[dictionary()]
    )
    assert run.receipt[0].acted_tokens == (5,)
    assert run.logprobs[0].edited[0] != pytest.approx(run.logprobs[0].baseline[0], abs=1e-3)


@pytest.mark.parametrize("tokens", [(), ("",), (True,), (-1,), (1.5,), (None,)])
def test_what_is_no_token(tokens: tuple[Any, ...]) -> None:
    with pytest.raises(steer.InterventionError, match="give one or more token texts or ids"):
        steer.Tokens(*tokens)


def test_tokens_that_the_model_does_not_have(llama: steer.Model) -> None:
    given: dict[str, Any] = {"dictionaries": [dictionary()], "max_new_tokens": 1}
    edit = Intervention("tiny", [Clamp(5, 1.0)])
    far = Intervention("tiny", [Clamp(5, 1.0, positions=steer.Tokens(96))])
    with pytest.raises(steer.InterventionError, match="token ids 0 to 95, not 96"):
        llama.generate(PROMPT, far, **given)
    with pytest.raises(steer.InterventionError, match="token ids 0 to 95, not 96"):
        llama.generate(PROMPT, edit, watch=[96], **given)
    with pytest.raises(steer.InterventionError, match="token ids 0 to 95, not -3"):
        steer.logit_effect(
            llama, PROMPT, edit, dictionaries=[dictionary()], metric=LogitDifference(-3)
        )
    with pytest.raises(steer.InterventionError, match="'w3 w4' is 2 tokens"):
        llama.generate(PROMPT, edit, watch=["w3 w4"], **given)


def test_tokens_are_shown_as_they_are_written() -> None:
    assert repr(steer.Tokens("w7", 9)) == "Tokens('w7', 9)"


def test_text_is_every_token_but_special_ones(llama: steer.Model) -> None:
    edit = Intervention("tiny", [Clamp(5, 9.0, positions="text")])
    effect = steer.logit_effect(
        llama, "w7 <eos> w12 <unk> w9", edit, dictionaries=[dictionary()], draws=0
    )
    assert llama.tokenizer("<eos>")["input_ids"] == [EOS]
    assert effect.receipts[0][0].acted_tokens == (0, 2, 4)


@pytest.mark.parametrize("gauge", [3.0, 0.2])
@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
def test_o22_multiples_do_not_depend_on_the_gauge(
    normalisation: str, gauge: float, llama: steer.Model
) -> None:
    """W_dec·c with W_enc/c, b/c, θ/c and max/c is the same dictionary: so is every edit of it."""
    given = dictionary(normalisation=normalisation)
    assert isinstance(given, JumpReLU)
    assert given.statistics is not None
    shown = replace(
        given.statistics,
        maximum=given.statistics.maximum / gauge,
        mean=given.statistics.mean / gauge,
        quantiles=given.statistics.quantiles / gauge,
    )
    other = replace(
        given,
        W_enc=given.W_enc / gauge,
        b_enc=given.b_enc / gauge,
        threshold=given.threshold / gauge,
        W_dec=given.W_dec * gauge,
        statistics=shown,
    )
    edits: list[steer.Edit] = [
        Clamp(5, "2x max"),
        Clamp(5, "1x q99"),
        Clamp(5, "2x mean"),
        steer.Ablate(5, to="mean"),
        steer.Add(5, "0.3x norm"),
        steer.Scale(5, 3.0),
        steer.Floor(5, "1x max"),
        steer.Cap(5, "0.01x max"),
    ]
    for edit in edits:
        ours, theirs = (residual(llama, edit, each) for each in (given, other))
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_the_mean_is_over_the_whole_corpus(llama: steer.Model) -> None:
    """Mean when active times density, which is what the feature is on average."""
    given = dictionary()
    assert given.statistics is not None
    mean = (given.statistics.mean * given.statistics.density)[5].item()
    edit = Intervention("tiny", [steer.Ablate(5, to="mean")])
    run = llama.generate(PROMPT, edit, max_new_tokens=1, dictionaries=[given])
    assert run.receipt[0].after == pytest.approx(mean)


def test_a_condition_that_did_not_hold_is_the_reason(llama: steer.Model) -> None:
    silent = tiny.silent_feature(llama, dictionary())
    edits = [
        Clamp(5, 1.0, when=steer.Active(silent), positions="prompt"),
        Clamp(6, 1.0, schedule=steer.After(50)),
    ]
    run = llama.generate(
        PROMPT,
        Intervention("tiny", edits),
        max_new_tokens=1,
        dictionaries=[dictionary()],
        if_silent="ignore",
    )
    reasons = [entry.reason for entry in run.receipt]
    assert reasons[0] == "its condition did not hold at all 6 touched tokens"
    assert reasons[1] == "its schedule had no strength at all 6 touched tokens"


@pytest.mark.parametrize("error", ["keep", "drop"])
def test_the_error_policy_is_in_every_result(error: Any, llama: steer.Model) -> None:
    edit = Intervention("tiny", [Clamp(5, 1.0)], error)
    given: dict[str, Any] = {"dictionaries": [dictionary()]}
    run = llama.generate(PROMPT, edit, max_new_tokens=1, **given)
    effect = steer.logit_effect(llama, PROMPT, edit, draws=0, **given)
    assert run.to_dict()["error"] == [error]
    assert effect.interventions == (edit,)
    assert {run.receipt[0].error, effect.receipts[0][0].error} == {error}
    assert run.receipt.to_list()[0]["error"] == error
    assert ("error drop" in str(run.receipt)) == (error == "drop")
    plan = llama.explain(edit, prompt=PROMPT, **given)
    assert plan.plans[0].error == error


def test_explain_says_where_and_when(llama: steer.Model) -> None:
    when = steer.Active(7) & ~steer.Seen(3, above=2.0)
    edit = Clamp(5, "0.1x norm", positions="1:", when=when, schedule=steer.Decay(4))
    plan = llama.explain(Intervention("tiny", [edit]), dictionaries=[dictionary()], prompt=PROMPT)
    (shown,) = plan.plans[0].edits
    assert (shown.positions, shown.when, shown.schedule) == (
        "1:", "(7 active above 0 and not 3 seen above 2)", "decay 4"
    )  # fmt: skip
    assert "clamp 5 at 1:, when (7 active above 0 and not 3 seen above 2), strength decay 4" in str(
        plan
    )


def test_a_file_that_is_not_there(tmp_path: Any) -> None:
    with pytest.raises(steer.InterventionError, match=r"none\.json can't be read: No such file"):
        Intervention.load(tmp_path / "none.json")
    with pytest.raises(steer.InterventionError, match="can't be read"):
        Intervention.load(tmp_path)


def test_options_of_a_batch_are_those_of_a_run(llama: steer.Model) -> None:
    options: dict[str, Any] = {
        "max_new_tokens": 4, "seed": 3, "temperature": 0.9, "dictionaries": [dictionary()]
    }  # fmt: skip
    edit = Intervention("tiny", [Clamp(5, 9.0)])
    further: dict[str, Any] = {"suppress_tokens": [9, 10], "top_k": 20, "watch": ["w9"]}
    alone = llama.generate(PROMPT, edit, **options, **further)
    (together,) = llama.generate_batch([PROMPT], [edit], **options, **further)
    assert together == alone
    with pytest.raises(steer.SteerError, match="num_beams"):
        llama.generate_batch([PROMPT], [edit], num_beams=2, **options)

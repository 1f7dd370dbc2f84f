"""One rule of precision: fp32, or the model's own dtype if that is wider."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from dictionaries.dictionary import Dictionary
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.maths.precision import compute_dtype, exact
from steer.splice import passes
from tests.support import plain, tiny
from tests.support.plain import PlainEdit, PlainSite, path_of
from tests.support.tiny import PROMPT, PROMPTS

SITE = "resid_post.1"
TOKENS = range(1, 64)


def double(given: Dictionary) -> Dictionary:
    return given.to(dtype=torch.float64)


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_the_rule(dtype: torch.dtype, wanted: torch.dtype) -> None:
    assert compute_dtype(dtype) == wanted
    assert exact(torch.ones(1, dtype=dtype)).dtype == wanted


def kl(clean: Tensor, edited: Tensor) -> float:
    p, q = clean[0, -1].log_softmax(-1), edited[0, -1].log_softmax(-1)
    return (p.exp() * (p - q)).sum().item()


@pytest.mark.parametrize("hookpoint", [SITE, "mlp_out.0"])
def test_a_sweep_of_a_double_model_is_its_edits_made_one_by_one(
    hookpoint: str, family: str
) -> None:
    """To 1e-10 of the effect, which fp32 anywhere on the way would spoil."""
    model = tiny.tiny_model(family, torch.float64)
    module = tiny.plain_model(family, torch.float64)
    given = tiny.dictionary(hookpoint)
    sweep = ablation_sweep(model, [PROMPT], given, metric="kl")
    assert len(sweep.rows) > 5
    ids = model.tokenize([PROMPT])[0]
    clean = plain.logits(module, ids)
    for row in sweep.rows[:8]:
        edit = PlainEdit(row["feature"], "ablate", touches=lambda position, _: position in TOKENS)
        site = PlainSite(*path_of(family, hookpoint), double(given), [edit])
        wanted = kl(clean, plain.logits(module, ids, None, [site]))
        assert row["effect"] == pytest.approx(wanted, rel=1e-10, abs=1e-15)


EDITS = [
    steer.Clamp(5, 3.0, schedule=steer.Ramp(3)),
    steer.Add(9, "0.3x norm"),
    steer.AddDirection(steer.Random(1), 1.5),
]


@pytest.mark.parametrize("error", ["keep", "drop"])
def test_logits_of_a_double_model(error: Any, family: str) -> None:
    """The same as plain hooks to 1e-12, for the edits that hooks know; and every number is fp64."""
    model = tiny.tiny_model(family, torch.float64)
    module = tiny.plain_model(family, torch.float64)
    given = tiny.dictionary(SITE)
    ids, mask = model.tokenize([PROMPT])
    plans = model.plans([steer.Intervention("tiny", [steer.Clamp(5, 3.0)], error)], [given])
    ours, (record,) = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    edit = [PlainEdit(5, "clamp", 3.0)]
    site = PlainSite(*path_of(family, SITE), double(given), edit, error == "drop")
    theirs = plain.logits(module, ids, mask, [site])
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert {record.before.dtype, record.norm.dtype, record.dose.dtype} == {torch.float64}


def test_values_and_schedules_of_a_double_model_are_double(llama: steer.Model) -> None:
    """A third is not a third in fp32."""
    model = tiny.tiny_model("llama", torch.float64)
    ids, mask = model.tokenize([PROMPT])
    plans = model.plans([steer.Intervention("tiny", EDITS)], [tiny.dictionary(SITE)])
    _, (record,) = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    before, after, norm = record.before[0, 1], record.after[0, 1], record.norm[0, 1]
    assert after[0].item() == pytest.approx(
        before[0].item() + (3 - before[0].item()) / 3, rel=1e-14
    )
    row = double(tiny.dictionary(SITE)).W_dec[9].norm()
    assert (after[1] - before[1]).item() == pytest.approx((0.3 * norm / row).item(), rel=1e-13)
    assert (after[2] - before[2]).item() == pytest.approx(1.5, rel=1e-13)


def test_effects_of_a_double_model_are_double(family: str) -> None:
    """Of prompts of different lengths too, though some families can't pad in fp64."""
    model = tiny.tiny_model(family, torch.float64)
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0)])
    given = {"dictionaries": [tiny.dictionary(SITE)], "draws": 0}
    effect = steer.logit_effect(model, PROMPTS, edit, **given)  # type: ignore[arg-type]
    single = steer.logit_effect(tiny.tiny_model(family), PROMPTS, edit, **given)  # type: ignore[arg-type]
    dtypes = {effect.kl.dtype, effect.delta_logit.dtype, effect.delta_logprob.dtype}
    assert dtypes == {torch.float64}
    torch.testing.assert_close(effect.delta_logit.float(), single.delta_logit, atol=1e-4, rtol=1e-4)
    assert effect.dtype == "float64"
    assert model.features(PROMPT, tiny.dictionary(SITE)).activations.dtype == torch.float64


def test_padding_that_would_give_nan_is_refused() -> None:
    model = tiny.tiny_model("gemma2", torch.float64)
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0)])
    with pytest.raises(
        steer.PromptError, match=r"float64, eager attention gives NaN.*: prompts of different"
    ):
        model.generate_batch(PROMPTS, [edit], dictionaries=[tiny.dictionary(SITE)])
    means = steer.Intervention(SITE, [steer.AddDirection(steer.Difference(PROMPTS, ["w3"]))])
    with pytest.raises(steer.PromptError, match="one at a time"):
        model.generate(PROMPT, means)
    same = model.generate_batch([PROMPT], [edit, edit], dictionaries=[tiny.dictionary(SITE)])
    assert same[0].ids == same[1].ids


@pytest.mark.parametrize("normalisation", ["constant_norm_rescale", "layer_norm"])
def test_a_direction_is_in_the_residuals_own_units(normalisation: str, llama: steer.Model) -> None:
    """Per-token normalisation is of the dictionary's features; a direction knows nothing of it."""
    given = tiny.dictionary(SITE, normalisation=normalisation)
    edits = [steer.Clamp(5, 2.0), steer.AddDirection(steer.Random(1), "0.5x norm")]
    ids, mask = llama.tokenize([PROMPT])
    plans = llama.plans([steer.Intervention("tiny", edits[1:])], [given])
    _, (record,) = passes.logits(llama.nn, ids, llama.span(ids, mask), plans)
    share = torch.full_like(record.norm, 0.5)
    torch.testing.assert_close(record.delta_norm / record.norm, share)
    torch.testing.assert_close(record.dose[..., 0] / record.norm, share)
    both = llama.plans([steer.Intervention("tiny", edits)], [given])
    _, (record,) = passes.logits(llama.nn, ids, llama.span(ids, mask), both)
    torch.testing.assert_close(record.dose[..., 1] / record.norm, share)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_residual_keeps_its_dtype(dtype: torch.dtype) -> None:
    model = tiny.tiny_model("llama", dtype)
    ids, mask = model.tokenize([PROMPT])
    plans = model.plans([steer.Intervention("tiny", [steer.Clamp(5, 3.0)])], [tiny.dictionary()])
    with plain.recorded(plain.block(model.module, 2), "input") as residual:
        logits, _ = passes.logits(model.nn, ids, model.span(ids, mask), plans)
    assert residual[-1].dtype == logits.dtype == dtype


def test_a_double_dictionary_on_a_single_model_is_computed_in_single(llama: steer.Model) -> None:
    given = double(replace(tiny.dictionary(SITE), statistics=None))
    (plan,) = llama.plans([steer.Intervention("tiny", [steer.Clamp(5, 3.0)])], [given])
    assert plan.dtype == torch.float32

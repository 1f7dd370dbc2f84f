"""Laws of what changes: (f' - f) W_dec of the clean activation, whatever computes it.

O2 to O4, O9, O11, O12, O23 and, for the dtype that it is computed in, O25.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from dictionaries.dictionary import Dictionary
from dictionaries.errors import NotSeparableError
from tests.support import tiny
from tests.support.passes import SITE, by_hand, close, intervention, same, steered
from tests.support.tiny import PROMPT


def moved_by(model: steer.Model, untouched: Any, sae: Dictionary, *edits: steer.Edit) -> Tensor:
    """What the edits add to the residual after block 1, [1, s, d]."""
    edited = steered(model, intervention(*edits), sae)
    return edited.residual - by_hand(untouched, model).residual


def test_o2_the_error_is_of_the_clean_code(model: steer.Model, untouched: Any) -> None:
    edited = steered(model, intervention(steer.Clamp(5, "5x max")), tiny.dictionary(SITE))
    assert (edited.logits - by_hand(untouched, model).logits).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_o3_one_row_is_the_full_route(
    architecture: str, model: steer.Model, untouched: Any
) -> None:
    sae, x = tiny.dictionary(SITE, architecture), by_hand(untouched, model).residual
    ours = steered(model, intervention(steer.Clamp(5, 4.0)), sae).residual
    features, norm = sae.encode(x)
    clamped = features.clone()
    clamped[..., 5] = 4.0
    full = sae.decode(clamped, norm) + (x - sae.decode(features, norm))
    close(ours, full, 1e-6 * x.abs().max().item())
    close(ours, x + (4.0 - features[..., 5:6]) * sae.W_dec[5], 1e-6 * x.abs().max().item())


def test_o4_ablating_or_scaling_a_silent_feature_is_bit_equal(
    model: steer.Model, untouched: Any
) -> None:
    sae, clean = tiny.dictionary(SITE), by_hand(untouched, model)
    silent = tiny.silent_feature(model, sae)
    for edit in (steer.Ablate(silent), steer.Scale(silent, 0), steer.Scale(silent, -30)):
        assert same(steered(model, intervention(edit), sae), clean)


def test_o4_clamping_a_silent_feature_adds_its_row(model: steer.Model, untouched: Any) -> None:
    sae = tiny.dictionary(SITE)
    silent = tiny.silent_feature(model, sae)
    moved = moved_by(model, untouched, sae, steer.Clamp(silent, 3.0))
    close(moved, (3.0 * sae.W_dec[silent]).expand_as(moved))


def test_o11_edits_read_the_same_clean_activation(model: steer.Model, untouched: Any) -> None:
    sae = tiny.dictionary(SITE)
    edits = [steer.Clamp(5, 4.0), steer.Scale(9, 3), steer.Ablate(11), steer.Add(20, 1)]
    alone = [moved_by(model, untouched, sae, edit) for edit in edits]
    together = moved_by(model, untouched, sae, *edits)
    close(together, torch.stack(alone).sum(0))
    for order in list(permutations(edits))[1:5]:
        close(moved_by(model, untouched, sae, *order), together)


def test_o11_interventions_of_one_site_read_the_same_clean_activation(
    model: steer.Model, untouched: Any
) -> None:
    one = tiny.dictionary(SITE)
    other = replace(tiny.dictionary(SITE, "standard", seed=8), name="other")
    both = [intervention(steer.Clamp(5, 4.0)), steer.Intervention("other", [steer.Ablate(7)])]
    x = by_hand(untouched, model).residual
    alone = [steered(model, each, [one, other]).residual - x for each in both]
    for order in (both, both[::-1]):
        close(steered(model, order, [one, other]).residual - x, alone[0] + alone[1])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("value", [0.0, 7.0])
def test_o9_what_is_reached_follows_from_the_rows(
    value: float, tied: bool, model: steer.Model
) -> None:
    """pre′ = pre + (v − a)⟨w, d⟩: v itself only for tied unit rows where it was active."""
    sae = tiny.dictionary(SITE, "standard")
    if tied:
        sae = replace(sae, W_enc=sae.W_dec.T.contiguous())
    feature = next(f for f in tiny.active_features(model, sae) if f)
    outcome = steered(model, intervention(steer.Clamp(feature, value)), sae)
    (x,) = model.collect(*model.tokenize([PROMPT]), [SITE]).values()
    pre = x[0] @ sae.W_enc[:, feature] + sae.b_enc[feature]
    a = sae.encode(x[0])[0][:, feature]
    close(a, pre.relu())
    inner = (sae.W_enc[:, feature] @ sae.W_dec[feature]).item()
    expected = (pre + (value - a) * inner).relu()
    entries = outcome.receipts[0][0].tokens
    at = [token.position for token in entries]
    assert len(at) == int((a != value).sum())
    reached = torch.tensor([token.reached for token in entries])
    close(reached, expected[at])
    if tied:
        active = a[at] > 0
        close(reached[active], torch.full_like(reached[active], value))
        assert (reached[~active] < max(value, 1e-6)).all()
    elif value:
        assert (reached - value).abs().max() > 1e-3


def test_o12_edits_at_different_tokens_compose(model: steer.Model, untouched: Any) -> None:
    """In the residual at the site: at each token it is the edit of that token alone."""
    sae = tiny.dictionary(SITE)
    one, other = steer.Clamp(5, 9.0, positions=1), steer.Add(7, -4.0, positions=[3, 4])
    both = steered(model, intervention(one, other), sae).residual[0]
    first, second = (steered(model, intervention(each), sae).residual[0] for each in (one, other))
    clean = by_hand(untouched, model).residual[0]
    close(both[1], first[1], 1e-6)
    close(both[3:5], second[3:5], 1e-6)
    assert torch.equal(both[[0, 2, 5]], clean[[0, 2, 5]])
    assert not torch.equal(both[1], clean[1])
    assert not torch.equal(both[3:5], clean[3:5])


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_o23_a_plan_reads_what_the_whole_dictionary_does(
    architecture: str, model: steer.Model, untouched: Any
) -> None:
    sae = tiny.dictionary(SITE, architecture)
    outcome = steered(model, intervention(steer.Clamp(5, 70), steer.Clamp(40, 70)), sae)
    before = [[token.before for token in entry.tokens] for entry in outcome.receipts[0]]
    whole = sae.encode(by_hand(untouched, model).residual)[0][0, :, [5, 40]].T
    torch.testing.assert_close(torch.tensor(before), whole, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("architecture", ["topk", "abstopk"])
def test_o23_ranking_architectures_refuse_a_row(architecture: str) -> None:
    with pytest.raises(NotSeparableError):
        tiny.dictionary(SITE, architecture).restrict([5])


@pytest.mark.parametrize("error", ["keep", "drop"])
def test_o25_bf16_is_edited_in_fp32_and_cast_once(error: str, family: str) -> None:
    model, sae = tiny.tiny_model(family, torch.bfloat16), tiny.dictionary(SITE)
    module = tiny.plain_model(family, torch.bfloat16)
    edit = intervention(steer.Clamp(5, 4.0), error=error)
    edited, clean = steered(model, edit, sae), by_hand(module, model)
    assert edited.residual.dtype == edited.logits.dtype == torch.bfloat16
    x = clean.residual.float()
    features, norm = sae.encode(x)
    clamped = features.clone()
    clamped[..., 5] = 4.0
    kept = x - sae.decode(features, norm) if error == "keep" else 0
    exact = sae.decode(clamped, norm) + kept
    ulp = 2.0**-8 * exact.abs().max()
    assert (edited.residual.float() - exact).abs().max() <= 2 * ulp
    assert model.generate(PROMPT, edit, max_new_tokens=2, dictionaries=[sae]).dtype == "bfloat16"
    assert same(steered(model, intervention(steer.Scale(5, 1)), sae), clean)

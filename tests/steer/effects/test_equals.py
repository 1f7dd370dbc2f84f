"""Controls of downstream features and of paths: fair, exact, and without a hand in the edit's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from steer.effects.controls.compared import Equals, columns
from steer.effects.downstream.downstream import downstream
from steer.effects.metric import LogitDifference
from steer.effects.passes.clean import run_clean
from steer.effects.passes.edited import edited_prompts
from steer.effects.paths.direct import direct_logit_effect
from steer.effects.paths.path_effects import path_effects
from steer.errors import SteerError
from steer.lm.unembedding import direct_logits, norm_of
from tests.support import plain, tiny
from tests.support.patched_pairs import double

METRIC = LogitDifference("w5", "w6")
EDIT = steer.Intervention("tiny", [steer.Clamp(5, 3.0), steer.Ablate(9)])
PUSH = steer.Intervention("resid_post.0", [steer.AddDirection(steer.Random(3), value=2.0)])
EARLY = tiny.dictionary("resid_post.0")
LATER = replace(tiny.dictionary("resid_post.1", seed=9), name="later")


def equals(model: steer.Model, edit: steer.Intervention = EDIT, draws: int = 3) -> Equals:
    return Equals.of(model, edit, [EARLY], draws, 0)


def trials(model: steer.Model, draws: int = 3) -> list[Any]:
    """(prompt, its controls) of every prompt."""
    drawn, found, matched = equals(model, draws=draws), [], None
    for prompt in edited_prompts(model, tiny.PROMPTS, EDIT, [EARLY]):
        matched = matched or drawn.match(prompt)
        found.append((prompt, drawn.trials(prompt, matched)))
    return found


def test_o27_each_control_has_the_edits_norm_at_every_position(llama: steer.Model) -> None:
    directions = []
    for prompt, drawn in trials(llama):
        assert [each.control for each in drawn] == ["random"] * 3 + ["matched"] * 3
        for each in drawn:
            torch.testing.assert_close(
                each.delta.norm(dim=-1), prompt.delta.norm(dim=-1), rtol=1e-5, atol=1e-6
            )
        directions += [each.delta.sum(0) for each in drawn[:3]]
    unit = torch.nn.functional.normalize(torch.stack(directions), dim=-1)
    assert (unit @ unit.T - torch.eye(len(unit))).abs().max() < 0.95  # anew for every prompt


def test_downstream_controls_are_what_a_plain_hook_gives(
    model: steer.Model, untouched: Any
) -> None:
    effect = downstream(model, tiny.PROMPTS, EDIT, LATER, dictionaries=[EARLY], draws=3)
    for changed, (prompt, drawn) in zip(effect.changed, trials(model), strict=True):
        ids = prompt.clean.ids.unsqueeze(0)
        for number, each in enumerate(drawn):
            with plain.recorded(plain.block(untouched, 1)) as seen, torch.inference_mode():
                untouched(ids)
                handle = plain.block(untouched, 0).register_forward_hook(
                    lambda m, i, x, d=each.delta: x + d
                )
                untouched(ids)
                handle.remove()
            before, after = (LATER.encode(x[0])[0] for x in seen)
            mean = (after - before)[changed.counted].mean(0)
            kept = changed.controls[each.control][number % 3]
            assert torch.allclose(kept, mean, atol=2e-5)


def test_what_the_edit_does_is_the_same_with_any_controls(llama: steer.Model) -> None:
    few, many = (
        downstream(llama, tiny.PROMPTS, EDIT, LATER, dictionaries=[EARLY], draws=draws)
        for draws in (0, 12)
    )
    assert torch.equal(few.matrix(), many.matrix())
    assert not {"random", "matched", "significant"} & set(few.frame)
    assert {"random", "matched", "p_random", "q_matched", "significant"} <= set(many.frame)
    some, all_ = (
        path_effects(llama, tiny.PROMPTS, EDIT, dictionaries=[EARLY], draws=draws)
        for draws in (0, 12)
    )
    for name, values in some.effect.items():
        assert torch.equal(values, all_.effect[name])
        assert torch.equal(some.logits[name], all_.logits[name])
    assert "random" not in some.frame
    assert {"random", "p_matched", "significant"} <= set(all_.frame)


def test_all_later_features_together(llama: steer.Model) -> None:
    effect = downstream(llama, tiny.PROMPTS, EDIT, LATER, dictionaries=[EARLY], draws=3)
    rows = effect.overall().set_index("of")
    assert list(rows.index) == ["edit", "random", "matched"]
    assert rows.loc["edit", "change"] == pytest.approx(effect.matrix().abs().sum(0).mean().item())
    for kind in ("random", "matched"):
        each = torch.stack([changed.controls[kind] for changed in effect.changed])
        assert rows.loc[kind, "change"] == pytest.approx(each.abs().sum(2).mean().item())
        size = effect.frame.set_index("feature")[kind]
        feature = effect.features[0]
        assert size[feature] == pytest.approx(each[..., feature].abs().mean().item())
    near = effect.to_dict()["matched"]
    assert near["control_density_low"] <= near["control_density"] <= near["control_density_high"]


def test_the_total_and_the_direct_effect_of_controls() -> None:
    """Resumed from the clean pass as any edit; and by the frozen norm and the unembedding."""
    model = double("llama")
    effects = path_effects(model, tiny.PROMPTS, EDIT, metric=METRIC, dictionaries=[EARLY], draws=3)
    norm, last = norm_of(model), model.last_site
    direct = []
    for number, (prompt, drawn) in enumerate(trials(model)):
        for place, each in enumerate(drawn):
            after = prompt.clean.resume(each.delta.unsqueeze(0)).logits[0, -1]
            change = after - prompt.clean.logits[-1]
            total = effects.controls[each.control]["total"][number, place % 3]
            assert total.item() == pytest.approx((change[5] - change[6]).item(), abs=1e-8)
        scale = norm.scale(run_clean(model, prompt.clean.ids, last).x[-1])
        rows = torch.stack([each.delta[-1] for each in drawn[:3]])
        direct.append((direct_logits(model, rows) / scale).abs().mean(0))
    assert torch.allclose(
        effects.control_logits["random"]["direct"], torch.stack(direct).mean(0), atol=1e-6
    )
    top = effects.promoted(k=2)[0]
    assert top.random == pytest.approx(
        effects.control_logits["random"]["direct"][top.token_id].item()
    )
    for kinds in effects.controls.values():
        assert torch.allclose(kinds["between"], kinds["total"] - kinds["direct"])


def test_a_feature_alone_beside_directions_as_long(llama: steer.Model) -> None:
    one, two = (
        direct_logit_effect(llama, EARLY, 5, amount=amount, prompts=tiny.PROMPTS).promoted[0]
        for amount in (1.5, 3.0)
    )
    assert one.random is not None
    assert one.matched is not None
    assert two.random == pytest.approx(2 * one.random, rel=1e-5)
    assert two.matched == pytest.approx(2 * one.matched, rel=1e-5)
    alone = direct_logit_effect(llama, EARLY, 5, draws=0).promoted[0]
    assert (alone.random, alone.matched) == (None, None)
    assert "random" not in alone.to_dict()


def test_directions_have_no_matched_features(llama: steer.Model) -> None:
    effect = downstream(llama, tiny.PROMPTS, PUSH, LATER, draws=2)
    assert set(effect.changed[0].controls) == {"random"}
    assert effect.matched is None
    assert effect.to_dict()["matched"] is None
    assert set(path_effects(llama, tiny.PROMPTS, PUSH, draws=2).controls) == {"random"}


def test_significant_is_above_every_kind_of_control() -> None:
    generator = torch.Generator().manual_seed(0)
    effects = torch.randn(3, 16, generator=generator) + torch.tensor([[9.0], [9.0], [0.0]])
    small, large = (size * torch.randn(3, 16, 4, generator=generator) for size in (1.0, 1.0))
    large[1] *= 20
    table = columns(effects, {"random": small, "matched": large}, 0.05)
    assert table["significant"].tolist() == [True, False, False]
    assert (table["q_random"] >= table["p_random"]).all()
    assert columns(effects, {}, 0.05) == {}


def test_a_negative_number_of_controls_is_refused(llama: steer.Model) -> None:
    with pytest.raises(SteerError, match="draws=-1"):
        downstream(llama, tiny.PROMPT, EDIT, LATER, dictionaries=[EARLY], draws=-1)

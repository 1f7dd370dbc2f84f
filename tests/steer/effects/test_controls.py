"""O20 and O27: divergences behave, and controls are fair."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import steer
from steer.edits.directions import Random
from steer.effects.controls.controls import controls
from steer.effects.controls.elsewhere import wrong_site
from steer.effects.controls.matching import Like, matched_features
from steer.effects.controls.trials import matched_trials, random_trials
from steer.effects.logits.result import wrong_way
from steer.effects.metric import LogitDifference
from steer.effects.passes.changes import clean_for, edit_delta, encode_clean
from steer.effects.positionwise import contrast
from steer.errors import InterventionError
from tests.conformance.build import build
from tests.support import tiny

METRIC = LogitDifference("w5", "w6")


def test_controls_have_the_edits_norm_at_every_position(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    feature = tiny.active_features(llama, dictionary)[0]
    (plan,) = llama.plans([steer.Intervention("tiny", [steer.Ablate(feature)])], [dictionary])
    clean = clean_for(llama, llama.tokenize([tiny.PROMPT])[0][0], dictionary, every=False)
    delta, sign = edit_delta(clean, plan)
    assert sign == -1
    others = [Like(1, 0.2), Like(2, 0.3)]
    trials = random_trials(delta, 3, 0) + matched_trials(delta, dictionary, others, sign)
    for trial in trials:
        assert torch.allclose(trial.delta.norm(dim=-1), delta.norm(dim=-1), rtol=1e-6, atol=1e-7)


def test_the_edits_own_row_is_the_measured_effect(family: str) -> None:
    model, dictionary = tiny.tiny_model(family), tiny.dictionary()
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0)])
    effect = steer.logit_effect(model, tiny.PROMPTS, edit, metric=METRIC, dictionaries=[dictionary])
    assert effect.controls is not None
    rows = effect.controls.to_rows()
    own = torch.tensor(rows.loc[rows["control"] == "edit", "effect"].to_numpy())
    assert effect.metric is not None
    assert torch.allclose(own.float(), effect.metric.float(), atol=2e-5)
    table = effect.controls.to_frame()
    told = {"edit", "random", "matched", "sign turned", "wrong site", "reconstruction"}
    assert set(table["control"]) == told
    assert table["share"].dropna().between(0, 1).all()


@pytest.mark.parametrize("known", [True, False])
def test_controls_say_how_dense_they_and_the_edit_are(llama: steer.Model, known: bool) -> None:
    """By the statistics if there are any, else on the prompt."""
    dictionary = replace(tiny.dictionary(), statistics=tiny.statistics(48) if known else None)
    clean = clean_for(llama, llama.tokenize([tiny.PROMPT])[0][0], dictionary, every=False)
    density = (encode_clean(clean, dictionary) != 0).double().mean(0)
    if known:
        assert dictionary.statistics is not None
        density = dictionary.statistics.density.double()
    read = matched_features(clean, dictionary, [5, 9], 3, 0)
    assert read is not None
    assert read.density == pytest.approx(density[[5, 9]].mean().item())
    for other in read.others:
        assert other.density == pytest.approx(density[other.feature].item())
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0), steer.Clamp(9, 2.0)])
    frame = controls(llama, [tiny.PROMPT], edit, dictionaries=[dictionary], draws=3).to_frame()
    rows = frame.set_index("control")
    assert rows.loc["edit", "density"] == pytest.approx(read.density)
    near = [other.density for other in read.others]
    assert rows.loc["matched", "density"] == pytest.approx(sum(near) / 3)
    if min(near) < max(near):
        assert rows.loc["matched", "density_low"] == pytest.approx(min(near))
        assert rows.loc["matched", "density_high"] == pytest.approx(max(near))
    assert rows.loc[["random", "reconstruction"], "density"].isna().all()


def test_several_interventions_and_directions(llama: steer.Model) -> None:
    direction = steer.Intervention("resid_post.1", [steer.AddDirection(steer.Random(3), value=2.0)])
    control_effects = controls(llama, tiny.PROMPTS, direction, metric=METRIC)
    assert set(control_effects.to_frame()["control"]) == {
        "edit",
        "random",
        "sign turned",
        "wrong site",
    }


def test_the_sign_turned_and_the_wrong_site_are_edits_of_that_kind(family: str) -> None:
    """Along one direction both can be said as interventions of their own."""
    model = tiny.tiny_model(family)

    def pushed(site: str, length: float) -> steer.Intervention:
        return steer.Intervention(site, [steer.AddDirection(steer.Random(3), length)])

    rows = controls(model, tiny.PROMPTS, pushed("resid_post.1", 2.0), metric=METRIC).to_rows()
    for name, same in (
        ("sign turned", ("resid_post.1", -2.0)),
        ("wrong site", ("resid_post.0", 2.0)),
    ):
        effect = steer.logit_effect(model, tiny.PROMPTS, pushed(*same), metric=METRIC, draws=0)
        effects = torch.tensor(rows.loc[rows["control"] == name, "effect"].to_numpy())
        assert effect.metric is not None
        assert torch.allclose(effects.float(), effect.metric.float(), atol=2e-5)


def test_the_wrong_site_is_in_a_block_that_has_one() -> None:
    """Jamba's blocks take turns: attention in the second and the fourth, a state space between."""
    model = steer.load(build("jamba"), tokenizer=tiny.tokenizer())
    for own, other in ((1, 3), (3, 1)):
        site = wrong_site(model, model.site(f"attn_out.{own}"))
        assert site is not None
        assert str(site.hookpoint) == f"attn_out.{other}"
    edit = steer.Intervention("attn_out.3", [steer.AddDirection(Random(0), 2.0)])
    effect = steer.logit_effect(model, tiny.PROMPTS, edit, metric=METRIC)
    assert effect.controls is not None
    assert "wrong site" in set(effect.controls.to_frame()["control"])


def test_the_share_that_moved_the_wrong_way(llama: steer.Model) -> None:
    edit = steer.Intervention("resid_post.1", [steer.AddDirection(steer.Random(3), 2.0)])
    effect = steer.logit_effect(llama, tiny.PROMPTS, edit, ["w5"], metric=METRIC, draws=0)
    assert effect.metric is not None
    against = effect.metric.sign() != effect.metric.mean().sign()
    assert effect.wrong_way == pytest.approx(against.double().mean().item())
    assert effect.targets[0].wrong_way in (0, 1 / 3)
    assert wrong_way(torch.tensor([3.0, -1.0, 0.0, 1.0])) == 0.5
    assert steer.logit_effect(llama, tiny.PROMPTS, edit, draws=0).wrong_way is None


def test_divergences() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, edited = (torch.randn(6, 50, generator=generator) * 300 for _ in range(2))
    ids = torch.arange(6)
    difference = contrast(clean, edited, ids)
    for value in (difference.kl, difference.kl_reverse, difference.js):
        assert value.isfinite().all()
        assert (value >= -1e-7).all()
    assert (difference.js <= torch.log(torch.tensor(2.0)) + 1e-6).all()
    same = contrast(clean, clean + 7, ids)
    assert same.kl.abs().max() < 1e-4
    nothing = contrast(clean, clean, ids)
    assert not nothing.kl.any()
    assert torch.equal(nothing.rank, nothing.rank_edited)
    assert nothing.delta_ce[-1].isnan()
    assert nothing.rank[-1] == -1


def test_forced_texts_and_targets(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0)])
    effect = steer.logit_effect(
        llama, tiny.PROMPTS, edit, ["w5", 6], dictionaries=[dictionary], continuation=3, draws=0
    )
    assert effect.controls is None
    assert [target.id for target in effect.targets] == [5, 6]
    assert effect.forced is not None
    for part in (*effect.forced.on_clean, *effect.forced.on_edited):
        assert 2 <= len(part.tokens) <= 4
    last = torch.stack([part.kl[-1] for part in effect.positions])
    assert torch.allclose(last, effect.kl, atol=1e-6)
    assert effect.summary()["kl"].n == 3
    for number, part in enumerate(effect.positions):
        assert torch.equal(part.delta_logit[-1], effect.delta_logit[number, [5, 6]])
        assert torch.equal(part.delta_logprob[-1], effect.delta_logprob[number, [5, 6]])
        top, bottom = (
            int(effect.delta_logit[number].topk(1, largest=x).indices) for x in (True, False)
        )
        assert part.promoted[-1, 0] == top
        assert part.suppressed[-1, 0] == bottom
    with pytest.raises(InterventionError, match="tokens"):
        steer.logit_effect(llama, tiny.PROMPT, edit, "w5 w6", dictionaries=[dictionary])

"""Changes of later features: in closed form, against plain hooks, and never before the edit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import steer
from dictionaries.dictionary import Dictionary
from steer.effects.downstream.downstream import downstream
from steer.errors import InterventionError, SilentEditError
from tests.support import plain, tiny


def later(hookpoint: str, architecture: str = "jumprelu") -> Dictionary:
    return replace(tiny.dictionary(hookpoint, architecture, seed=9), name="later")


def clamp(positions: Any = "all", value: float = 3.0) -> steer.Intervention:
    return steer.Intervention("tiny", [steer.Clamp(5, value, positions=positions)])


@pytest.mark.parametrize("architecture", ["jumprelu", "topk"])
def test_after_no_block_it_is_the_later_encoder_alone(
    llama: steer.Model, architecture: str
) -> None:
    """resid_pre.2 is resid_post.1, so what stands there is x + (v − a) d exactly."""
    dictionary, other = tiny.dictionary(), later("resid_pre.2", architecture)
    effect = downstream(llama, tiny.PROMPT, clamp(2), other, at="all", dictionaries=[dictionary])
    ids, mask = llama.tokenize([tiny.PROMPT])
    x = llama.collect(ids, mask, ["resid_post.1"])["resid_post.1"][0]
    edited = x.clone()
    activation = dictionary.encode(x)[0][2, 5]
    edited[2] += (3.0 - activation) * dictionary.W_dec[5]
    before, after = (other.encode(each)[0] for each in (x, edited))
    (changed,) = effect.changed
    assert changed.features.tolist() == (before != after).any(0).nonzero().flatten().tolist()
    assert torch.allclose(changed.before, before[:, changed.features], atol=1e-5)
    assert torch.allclose(changed.after, after[:, changed.features], atol=1e-5)
    assert set(effect.to_rows()["position"]) == {2}
    assert set(effect.frame["position"]) == {2}


def test_it_is_what_a_plain_hook_gives(model: steer.Model, untouched: Any) -> None:
    dictionary, other = tiny.dictionary("resid_post.0"), later("resid_post.1")
    effect = downstream(model, tiny.PROMPTS, clamp(), other, at="all", dictionaries=[dictionary])

    def hook(module: Any, inputs: Any, x: torch.Tensor) -> torch.Tensor:
        return x + (3.0 - dictionary.encode(x)[0][..., 5:6]) * dictionary.W_dec[5]

    for prompt, changed in zip(tiny.PROMPTS, effect.changed, strict=True):
        ids, _ = model.tokenize([prompt])
        with plain.recorded(plain.block(untouched, 1)) as seen, torch.inference_mode():
            untouched(ids)
            handle = plain.block(untouched, 0).register_forward_hook(hook)
            untouched(ids)
            handle.remove()
        before, after = (other.encode(x[0])[0][:, changed.features] for x in seen)
        assert torch.allclose(changed.before, before, atol=2e-5)
        assert torch.allclose(changed.after, after, atol=2e-5)


def test_nothing_changes_before_the_edit(model: steer.Model) -> None:
    dictionary, other = tiny.dictionary("resid_post.0"), later("resid_post.2")
    effect = downstream(model, tiny.PROMPTS[2], clamp(4), other, dictionaries=[dictionary])
    (changed,) = effect.changed
    assert not changed.change[:4].any()
    assert changed.change[4:].any(1).all()


def test_means_over_the_tokens_that_count(llama: steer.Model) -> None:
    dictionary, other = tiny.dictionary("resid_post.0"), later("resid_post.1")
    effect = downstream(llama, tiny.PROMPTS, clamp(), other, at="last", dictionaries=[dictionary])
    frame = effect.frame.set_index("feature")
    last = [len(each.tokens) - 1 for each in effect.changed]
    for feature, change in effect.top(5):
        rows = effect.to_rows()
        rows = rows[rows["feature"] == feature]
        values = [
            rows[(rows["prompt"] == number) & (rows["position"] == place)]["change"].sum()
            for number, place in enumerate(last)
        ]
        assert change == pytest.approx(sum(values) / len(values), abs=1e-6)
        assert frame.loc[feature, "low"] <= change <= frame.loc[feature, "high"]
    assert list(frame["change"].abs()) == sorted(frame["change"].abs(), reverse=True)
    assert effect.to_dict(3)["changed"] == len(effect.features)


def test_a_site_that_is_not_later_is_refused(llama: steer.Model) -> None:
    for hookpoint in ("resid_post.1", "resid_mid.1", "resid_post.0"):
        with pytest.raises(InterventionError, match="later site"):
            downstream(
                llama, tiny.PROMPT, clamp(), later(hookpoint), dictionaries=[tiny.dictionary()]
            )


def test_an_edit_of_nothing_is_no_effect(llama: steer.Model) -> None:
    dictionary = tiny.dictionary()
    silent = tiny.silent_feature(llama, dictionary)
    edit = steer.Intervention("tiny", [steer.Ablate(silent)])
    with pytest.raises(SilentEditError, match="changes nothing"):
        downstream(llama, tiny.PROMPT, edit, later("resid_post.2"), dictionaries=[dictionary])


def test_a_prompt_without_counted_tokens_changes_no_verdict(llama: steer.Model) -> None:
    """Of its one token, the first, nothing is counted: its changes and its controls' are 0."""
    other = later("resid_post.2")
    prompts = [f"w{3 + n} w{20 + n} w{40 + n} w{60 + n}" for n in range(12)]
    frames = []
    for texts in (prompts, [*prompts, "w7"]):
        effect = downstream(llama, texts, clamp(), other, dictionaries=[tiny.dictionary()])
        frames.append(effect.to_frame())
        overall = effect.overall()
    assert overall["change"].notna().all()
    without, with_one = frames
    assert without["significant"].any()
    assert set(with_one["feature"]) == set(without["feature"])
    for kind in ("random", "matched"):
        assert with_one[kind].sum() == pytest.approx(without[kind].sum() * 12 / 13)
        assert list(with_one[f"p_{kind}"]) == pytest.approx(list(without[f"p_{kind}"]))

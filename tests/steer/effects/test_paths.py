"""O13, O14 and frozen paths: linear where all is frozen, and patterns held are the clean ones."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import steer
from steer.effects.attribution.attribution import attribution
from steer.effects.metric import LogitDifference, Loss
from steer.effects.passes.clean import run_clean
from steer.effects.passes.edited import edited_prompts
from steer.effects.patching.patching import patch_curve, prompt_pairs
from steer.effects.paths.direct import DirectEffect, direct_logit_effect
from steer.effects.paths.path_effects import DIRECT, TOTAL, Freeze, frozen_logits, path_effects
from steer.effects.sweep.ablation_sweep import ablation_sweep
from steer.errors import InterventionError, ModelError, SteerError
from steer.lm.unembedding import direct_logits, norm_of
from tests.support import plain, tiny
from tests.support.patched_pairs import linear

METRIC = LogitDifference("w5", "w6")
EDIT = steer.Intervention("tiny", [steer.Clamp(5, 3.0), steer.Ablate(9)])


@cache
def double(family: str) -> steer.Model:
    return steer.load(tiny.build(family, torch.float64), tokenizer=tiny.tokenizer())


class Cubed(nn.LayerNorm):
    """A norm of no known kind."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) ** 3


def direct(amount: float, feature: int = 5, family: str = "gpt2") -> DirectEffect:
    return direct_logit_effect(tiny.tiny_model(family), tiny.dictionary(), feature, amount=amount)


# -- the direct effect -------------------------------------------------------------------------


def test_it_is_additive_and_doubles_exactly(family: str) -> None:
    one, two, half = (direct(amount, family=family).logits for amount in (0.7, 1.4, 0.35))
    assert torch.equal(two, 2 * one)
    assert torch.equal(half, one / 2)
    assert torch.allclose(
        direct(0.3, family=family).logits + direct(0.4, family=family).logits, one, atol=1e-6
    )


def test_layer_norm_ignores_a_constant_and_rms_norm_does_not(family: str) -> None:
    norm = norm_of(tiny.tiny_model(family))
    constant, scale = torch.ones(tiny.D), torch.ones(1)
    ignored = bool(norm.slope(constant, scale).abs().max() < 1e-6)
    assert ignored == (family in ("gpt2", "gpt_neox", "gpt_neox_sequential")) == norm.centred


def test_it_is_the_norm_itself_when_nothing_is_held(family: str) -> None:
    module, norm = tiny.plain_model(family), norm_of(tiny.tiny_model(family))
    x = 3 * torch.randn(4, tiny.D, generator=torch.Generator().manual_seed(0)) + 1
    with torch.inference_mode():
        assert torch.allclose(norm(x), plain.final_norm(module)(x), atol=1e-5)


def test_it_is_the_slope_of_the_norm_in_the_directions_that_leave_its_scale() -> None:
    """A finite difference in a direction that changes the scale not to first order."""
    model = double("gpt2")
    norm, generator = norm_of(model), torch.Generator().manual_seed(1)
    x, step = (torch.randn(tiny.D, generator=generator).double() for _ in range(2))
    centred = x - x.mean()
    step -= step.mean() + centred * (step @ centred) / (centred @ centred)
    moved = (norm(x + 1e-5 * step) - norm(x - 1e-5 * step)) / 2e-5
    assert torch.allclose(norm.slope(step, norm.scale(x)), moved, atol=1e-8)


def test_tokens_are_sorted_and_prompts_give_the_scale() -> None:
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary()
    effect = direct_logit_effect(model, dictionary, 5, prompts=tiny.PROMPTS, top=4)
    mean = effect.logits.mean(0)
    assert [t.token_id for t in effect.promoted] == mean.topk(4).indices.tolist()
    assert effect.suppressed[0].delta_logit == pytest.approx(mean.min().item())
    assert torch.allclose(
        effect.logits[0] * effect.scales[0], effect.logits[1] * effect.scales[1], atol=1e-5
    )
    assert effect.to_dict()["label"] == "direct, frozen-norm"


def test_logits_that_are_scaled_besides_are_refused() -> None:
    module = tiny.build("llama")
    module.lm_head.register_forward_hook(lambda m, i, logits: logits / 3)
    model = steer.load(module, tokenizer=tiny.tokenizer())
    with pytest.raises(ModelError, match="norm and unembedding alone"):
        direct_logit_effect(model, tiny.dictionary(), 5)


def test_an_unknown_norm_is_refused() -> None:
    module = tiny.build("llama")
    module.model.norm = Cubed(tiny.D)
    with pytest.raises(ModelError, match="neither a LayerNorm nor an RMSNorm"):
        norm_of(steer.load(module, tokenizer=tiny.tokenizer()))


# -- O14: the last site ------------------------------------------------------------------------


def test_where_all_is_linear_direct_gradient_and_exact_effects_are_one() -> None:
    model, dictionary = linear("llama"), tiny.dictionary("resid_post.2")
    sweep = ablation_sweep(model, tiny.PROMPTS, dictionary, metric=METRIC, positions="all")
    unembedding = model.module.lm_head.weight.double()
    for method in ("atp", "ig"):
        attributed = attribution(
            model, tiny.PROMPTS, dictionary, METRIC, method=method, positions="all"
        )
        for row in sweep.rows:
            guess = attributed.values[row["prompt"]][:, row["feature"]].sum().item()
            assert guess == pytest.approx(row["effect"], abs=1e-6)
    for row in sweep.rows[::7]:
        ids = model.tokenize([tiny.PROMPTS[row["prompt"]]])[0][0]
        x = run_clean(model, ids, model.last_site).x[-1]
        activation = dictionary.to(dtype=torch.float64).encode(x)[0][row["feature"]]
        by_hand = -activation * dictionary.W_dec[row["feature"]].double() @ unembedding.T
        assert (by_hand[5] - by_hand[6]).item() == pytest.approx(row["effect"], abs=1e-6)


def test_where_all_is_linear_the_best_nodes_go_furthest() -> None:
    bases, targets = ("w7 w31 w12 w9", "w20 w3 w8"), ("w7 w33 w12 w9", "w20 w4 w8")
    pairs = prompt_pairs(linear("llama"), bases, targets, tiny.dictionary("resid_post.2"))
    for pair in pairs:
        best, chance = (
            patch_curve([pair], method, metric=METRIC, counts=range(0, 40, 3)).value
            for method in ("ig", "random")
        )
        none, every = pair.values([(), pair.nodes], METRIC)
        sign = 1 if every > none else -1
        assert (sign * (best - chance) >= -1e-9).all()


# -- frozen paths ------------------------------------------------------------------------------


@pytest.mark.parametrize("hookpoint", ["resid_post.0", "attn_out.1", "mlp_out.1", "resid_post.2"])
def test_with_everything_frozen_it_is_the_direct_effect(family: str, hookpoint: str) -> None:
    model, dictionary = double(family), tiny.dictionary(hookpoint)
    norm, last = norm_of(model), model.last_site
    for prompt in edited_prompts(model, tiny.PROMPTS, EDIT, [dictionary], others=[last]):
        clean, delta = prompt.clean, prompt.delta
        before, after = (
            uncapped(model, logits)
            for logits in frozen_logits(clean, delta.unsqueeze(0), model.site(hookpoint), DIRECT)
        )
        scale = norm.scale(clean.others[last][-1])
        expected = direct_logits(model, delta[-1:])[0] / scale
        assert torch.allclose(after - before, expected, atol=1e-6)
        assert expected.abs().max() > 1e-3


def uncapped(model: steer.Model, logits: Tensor) -> Tensor:
    """Gemma 2 squashes its logits at the very end."""
    cap = getattr(model.module.config, "final_logit_softcapping", None)
    return torch.atanh(logits / cap) * cap if cap else logits


def test_with_nothing_frozen_it_is_the_edit(model: steer.Model) -> None:
    dictionary = tiny.dictionary("resid_post.0")
    effects = path_effects(model, tiny.PROMPTS, EDIT, {}, metric=METRIC, dictionaries=[dictionary])
    effect = steer.logit_effect(
        model,
        tiny.PROMPTS,
        EDIT,
        metric=METRIC,
        dictionaries=[dictionary],
        draws=0,
        if_silent="ignore",
    )
    assert effect.metric is not None
    assert torch.allclose(effects.effect["total"], effect.metric.double().cpu(), atol=2e-5)
    rest = effects.logits["total"] - effects.logits["direct"]
    assert torch.equal(effects.logits["between"], rest)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "gemma2", "gpt_neox"])
def test_frozen_patterns_are_clean_patterns_on_new_values(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against eager attention whose probabilities are kept from the clean run, row by row."""
    model, dictionary = double(family), tiny.dictionary("resid_post.0")
    site = model.site("resid_post.0")
    untouched = tiny.build(family, torch.float64)
    untouched.config._attn_implementation = "eager"
    modelling: Any = sys.modules[type(untouched).__module__]
    own, kept = modelling.eager_attention_forward, list[Tensor]()

    def remembering(
        layer: Any, query: Tensor, key: Tensor, value: Tensor, *a: Any, **k: Any
    ) -> Any:
        out, weights = own(layer, query, key, value, *a, **k)
        kept.append(weights)
        return out, weights

    def replaying(layer: Any, query: Tensor, key: Tensor, value: Tensor, *a: Any, **k: Any) -> Any:
        weights = kept.pop(0)
        wide = value.repeat_interleave(weights.shape[1] // value.shape[1], dim=1)
        return (weights @ wide).transpose(1, 2), weights

    for prompt in edited_prompts(model, tiny.PROMPTS, EDIT, [dictionary]):
        ids = prompt.clean.ids.unsqueeze(0)
        monkeypatch.setattr(modelling, "eager_attention_forward", remembering)
        with torch.inference_mode():
            untouched(ids)
        monkeypatch.setattr(modelling, "eager_attention_forward", replaying)
        block = plain.block(untouched, 0)
        handle = block.register_forward_hook(lambda m, i, x, d=prompt.delta: x + d)
        with torch.inference_mode():
            expected = untouched(ids).logits[0, -1]
        handle.remove()
        monkeypatch.setattr(modelling, "eager_attention_forward", own)
        _, logits = frozen_logits(
            prompt.clean, prompt.delta.unsqueeze(0), site, Freeze(patterns=True)
        )
        assert not kept
        assert torch.allclose(logits, expected, atol=1e-6)
        _, total = frozen_logits(prompt.clean, prompt.delta.unsqueeze(0), site, TOTAL)
        assert not torch.allclose(logits, total, atol=1e-4)


def test_frozen_attention_and_mlps_give_the_same_as_plain_hooks(family: str) -> None:
    model, dictionary = double(family), tiny.dictionary("resid_post.0")
    untouched, site = tiny.build(family, torch.float64), model.site("resid_post.0")
    for kind, freeze in (("attn_out", Freeze(attention=True)), ("mlp_out", Freeze(mlp=True))):
        places = [plain.path_of(family, f"{kind}.{layer}")[0] for layer in (1, 2)]
        (prompt,) = edited_prompts(model, [tiny.PROMPT], EDIT, [dictionary])
        ids = prompt.clean.ids.unsqueeze(0)
        held: list[Tensor] = []
        for path in places:
            with plain.recorded(untouched.get_submodule(path)) as seen, torch.inference_mode():
                untouched(ids)
            held.append(seen[0])

        def hold(value: Tensor) -> Any:
            return lambda m, i, out: (value, *out[1:]) if isinstance(out, tuple) else value

        handles = [
            untouched.get_submodule(path).register_forward_hook(hold(value))
            for path, value in zip(places, held, strict=True)
        ]
        block = plain.block(untouched, 0)
        handles.append(block.register_forward_hook(lambda m, i, x, d=prompt.delta: x + d))
        with torch.inference_mode():
            expected = untouched(ids).logits[0, -1]
        for handle in handles:
            handle.remove()
        _, logits = frozen_logits(prompt.clean, prompt.delta.unsqueeze(0), site, freeze)
        assert torch.allclose(logits, expected, atol=1e-6)


def test_nothing_is_left_behind_on_the_model() -> None:
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary("resid_post.0")
    before = model.module.config._attn_implementation
    path_effects(model, tiny.PROMPT, EDIT, dictionaries=[dictionary])
    assert model.module.config._attn_implementation == before
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    assert not [name for name in ALL_ATTENTION_FUNCTIONS if name.startswith("steer")]


def test_a_table_of_paths() -> None:
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary("resid_post.0")
    effects = path_effects(model, tiny.PROMPTS, EDIT, metric=METRIC, dictionaries=[dictionary])
    frame = effects.frame.set_index("path")
    assert {"total", "direct", "between", "patterns frozen"} <= set(frame.index)
    assert frame.loc["total", "likeness"] == pytest.approx(1)
    assert frame.loc["between", "effect"] == pytest.approx(
        frame.loc["total", "effect"] - frame.loc["direct", "effect"]
    )
    up, down = effects.promoted(k=3), effects.suppressed(k=3)
    assert up[0].delta_logit >= up[2].delta_logit > down[2].delta_logit >= down[0].delta_logit
    assert effects.to_dict()["frozen"]["direct"]["norm"]


def test_an_edit_before_the_last_token_has_no_direct_effect() -> None:
    model, dictionary = tiny.tiny_model("llama"), tiny.dictionary("resid_post.0")
    edit = steer.Intervention("tiny", [steer.Clamp(5, 3.0, positions=2)])
    effects = path_effects(model, tiny.PROMPT, edit, metric=METRIC, dictionaries=[dictionary])
    assert effects.effect["direct"].item() == effects.effect["attention frozen"].item() == 0
    assert effects.effect["total"].item() != 0
    assert effects.promoted() == effects.suppressed() == ()


def test_bad_input() -> None:
    model = tiny.tiny_model("llama")
    for hookpoint in ("attn_z.1", "mlp_hidden.1", "mlp_in.1"):
        d = tiny.site_width(model, hookpoint)
        given = tiny.dictionary(hookpoint, d=d)
        with pytest.raises(InterventionError, match="no direct path"):
            path_effects(model, tiny.PROMPT, EDIT, dictionaries=[given])
        with pytest.raises(InterventionError, match="no direct path"):
            direct_logit_effect(model, given, 5)
    with pytest.raises(SteerError, match="last token"):
        path_effects(model, tiny.PROMPT, EDIT, metric=Loss(), dictionaries=[tiny.dictionary()])
    with pytest.raises(steer.DictionaryError, match="out of range"):
        direct_logit_effect(model, tiny.dictionary(), 48)

"""`logit_effect` against logits of a plain hook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import steer
from steer.lm.unembedding import direct_logits
from tests.support import plain, tiny
from tests.support.plain import PlainEdit, PlainSite
from tests.support.tiny import PROMPT, PROMPTS

EDIT = steer.Intervention("tiny", [steer.Clamp(5, 9)])


def effect(
    model: steer.Model, prompts: str | Sequence[str] = PROMPTS, edit: Any = EDIT, **options: Any
) -> steer.LogitEffect:
    return steer.logit_effect(model, prompts, edit, dictionaries=[tiny.dictionary()], **options)


def last_logits(module: Any, model: steer.Model, prompt: str, *sites: PlainSite) -> Tensor:
    return plain.logits(module, model.tokenize([prompt])[0], None, sites)[0, -1]


def test_it_is_the_difference_of_logits(model: steer.Model, untouched: Any, family: str) -> None:
    path = plain.path_of(family, "resid_post.1")
    site = PlainSite(*path, tiny.dictionary(), [PlainEdit(5, "clamp", 9)])
    logit_effect = effect(model)
    for row, prompt in enumerate(PROMPTS):
        clean = last_logits(untouched, model, prompt)
        edited = last_logits(untouched, model, prompt, site)
        p, q = clean.log_softmax(-1), edited.log_softmax(-1)
        close(logit_effect.delta_logit[row], edited - clean)
        close(logit_effect.delta_logprob[row], q - p)
        close(logit_effect.kl[row], (p.exp() * (p - q)).sum())
    assert logit_effect.prompts == PROMPTS
    assert logit_effect.dtype == "float32"


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_many_prompts_are_each_alone(batch: int, model: steer.Model) -> None:
    together = effect(model, batch=batch)
    for row, prompt in enumerate(PROMPTS):
        alone = effect(model, prompt)
        close(together.delta_logit[row], alone.delta_logit[0])
        close(together.kl[row], alone.kl[0])
        tokens = [receipt[0].tokens for receipt in (together.receipts[row], alone.receipts[0])]
        assert [t.token for t in tokens[0]] == [t.token for t in tokens[1]] == prompt.split()


def test_promoted_and_suppressed(llama: steer.Model) -> None:
    logit_effect = effect(llama, top=7)
    mean = logit_effect.delta_logit.mean(0)
    assert [t.delta_logit for t in logit_effect.promoted] == mean.topk(7).values.tolist()
    assert [t.delta_logit for t in logit_effect.suppressed] == mean.sort().values[:7].tolist()
    for token in (*logit_effect.promoted, *logit_effect.suppressed):
        assert token.token == llama.token(token.id)
        assert token.delta_logit == mean[token.id].item()
        expected = logit_effect.delta_logprob.mean(0)[token.id].item()
        assert token.delta_logprob == pytest.approx(expected, abs=1e-6)


def test_top_is_at_most_the_vocabulary(llama: steer.Model) -> None:
    assert len(effect(llama, top=10**6).promoted) == tiny.VOCABULARY


def test_no_change_is_exactly_none(model: steer.Model) -> None:
    scale = steer.Intervention("tiny", [steer.Scale(5, 1)])
    logit_effect = effect(model, edit=scale, if_silent="ignore")
    assert not logit_effect.delta_logit.any()
    assert logit_effect.kl.abs().max() <= 1e-7
    assert all(not receipt[0].acted for receipt in logit_effect.receipts)
    with pytest.warns(steer.SilentEditWarning):
        effect(model, PROMPT, scale)
    with pytest.raises(steer.SilentEditError):
        effect(model, PROMPT, scale, if_silent="raise")


def test_as_a_frame(llama: steer.Model) -> None:
    logit_effect = effect(llama)
    frame = logit_effect.to_frame(3)
    assert len(frame) == len(PROMPTS) * 6
    row = frame.iloc[0]
    assert row.prompt == PROMPTS[0]
    assert row.token == logit_effect.promoted[0].token
    assert row.delta_logit == pytest.approx(logit_effect.delta_logit[0, row.id].item())
    assert len(logit_effect.frame) == len(PROMPTS) * 20


@pytest.mark.parametrize("prompts", [[], [""], [PROMPT, " "]])
def test_bad_prompts(prompts: list[str], llama: steer.Model) -> None:
    with pytest.raises(steer.PromptError):
        effect(llama, prompts)


def test_the_direct_effect_is_that_of_the_last_site(model: steer.Model, untouched: Any) -> None:
    """O13: at the final norm's input, a small step moves logits as the frozen norm says."""
    direction = torch.randn(2, tiny.D, generator=torch.Generator().manual_seed(0))
    predicted = direct_logits(model, direction)
    norm, head = plain.final_norm(untouched), untouched.get_output_embeddings()
    with plain.recorded(norm, "input") as inputs:
        plain.logits(untouched, model.tokenize([PROMPT])[0])
    x = inputs[0][0, -1].double()
    centred = x - x.mean() if getattr(norm, "bias", None) is not None else x
    scale = centred.square().mean().sqrt()
    with torch.no_grad():  # the same step with the scale held: the difference of two frozen norms
        moved = [frozen(norm, x + step.double(), scale) for step in (*direction, direction[0] * 0)]
        logits = [head(each.float()) for each in moved]
    for row in range(2):
        measured = (logits[row] - logits[2]) * scale.float()
        torch.testing.assert_close(predicted[row], measured, atol=1e-4, rtol=1e-4)
    doubled = direct_logits(model, 2 * direction)
    assert torch.equal(doubled, 2 * predicted)


def frozen(norm: Any, x: Tensor, scale: Tensor) -> Tensor:
    """The norm with a given scale, by applying it to an input that it scales by that."""
    bias = getattr(norm, "bias", None)
    centred = x - x.mean() if bias is not None else x
    gain = norm.weight.double()
    if "Gemma" in type(norm).__name__:
        gain = gain + 1
    moved: Tensor = centred / scale * gain + (0 if bias is None else bias.double())
    return moved


def test_tokens_that_the_model_never_gives_change_nothing() -> None:
    """−∞ on purpose: every KL was NaN, which no control exceeds, and these were promoted most."""
    module, hidden = tiny.build("llama"), slice(90, 92)

    def never(_: Any, __: Any, logits: torch.Tensor) -> torch.Tensor:
        logits[..., hidden] = -torch.inf
        return logits

    module.lm_head.register_forward_hook(never)
    model = steer.load(module, tokenizer=tiny.tokenizer())
    found = effect(model, edit=steer.Intervention("tiny", [steer.Clamp(5, 4.0)]), draws=2)
    assert (found.kl > 0).all()
    assert all((each.kl > -1e-6).all() and (each.js > -1e-6).all() for each in found.positions)
    assert not found.delta_logit[:, hidden].any()
    assert not {token.id for token in found.promoted} & {90, 91}
    assert found.controls is not None
    assert found.controls.to_frame()["effect"].notna().all()


@pytest.mark.parametrize("metric", [steer.LogitDifference, steer.LogProbability])
def test_a_token_given_as_text_and_as_id_counts_once(metric: Any, llama: steer.Model) -> None:
    """Twice it had twice the weight, and half of all probability or more was more than all."""
    once, twice = (effect(llama, metric=metric(t)) for t in (("w5", "w9"), ("w5", 5, "w9")))
    assert once.metric is not None
    assert twice.metric is not None
    assert torch.equal(once.metric, twice.metric)
    sides = [steer.Claim(tokens).resolve(llama) for tokens in (("w5", "w9"), ("w5", 5, "w9"))]
    assert sides[0] == sides[1]


def test_the_loss_of_a_prompt_of_one_token_is_of_no_token(llama: steer.Model) -> None:
    edit = steer.Intervention("tiny", [steer.Clamp(5, 9.0)])
    given = {"dictionaries": [tiny.dictionary()], "draws": 0}
    both = steer.logit_effect(llama, [*tiny.PROMPTS, "w3"], edit, **given)
    long = steer.logit_effect(llama, tiny.PROMPTS, edit, **given)
    rise = both.summary()["delta_ce"]
    assert rise.mean == pytest.approx(long.summary()["delta_ce"].mean, rel=1e-5)
    assert rise.n == len(tiny.PROMPTS)

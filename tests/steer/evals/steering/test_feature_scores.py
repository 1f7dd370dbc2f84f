"""Output and input scores against their formulas, computed on models that nnsight never saw."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import steer
from dictionaries.beside.statistics import WINDOW
from steer.errors import DictionaryError, SteerError
from steer.evals.steering.feature_scores import (
    feature_scores,
    lens_tokens,
    output_score,
    random_filter,
)
from tests.support import tiny

LAST = f"resid_post.{tiny.LAYERS - 1}"
PROMPTS = ("w7 w31 w12", "w55 w40 w9 w8")


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_output_score_by_its_definition(seed: int, top: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4, 30, generator=generator)
    lens = torch.stack([torch.randperm(30, generator=generator)[:top] for _ in range(4)])
    for row, tokens, got in zip(logits, lens.tolist(), output_score(logits, lens), strict=True):
        order = row.argsort(descending=True).tolist()
        p = row.double().softmax(-1)
        expected = (1 - min(order.index(t) for t in tokens) / 30) * max(p[t] for t in tokens)
        assert got.item() == pytest.approx(expected.item())


def by_hand(family: str, sae: steer.Dictionary, prompt: str, feature: int, lens: Tensor) -> float:
    """The edit written out at the last block's output, through the plain model's own head."""
    model = tiny.plain_model(family)
    ids = torch.tensor([[int(word[1:]) for word in prompt.split()]])
    with torch.no_grad():
        states = model(ids, output_hidden_states=True).hidden_states
    block = tiny.LAYERS - 1
    kept: list[Tensor] = []
    layers = model.transformer.h if family == "gpt2" else model.model.layers
    handle = layers[block].register_forward_hook(
        lambda _, __, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        model(ids)
    handle.remove()
    del states
    x = kept[0].reshape(-1, tiny.D)[-1]
    f = sae.encode(x)[0]
    norm = model.transformer.ln_f if family == "gpt2" else model.model.norm
    with torch.no_grad():
        moved = x + 10 * f.max() * sae.W_dec[feature]
        row = model.get_output_embeddings()(norm(moved)).double()
    order = row.argsort(descending=True).tolist()
    rank = min(order.index(t) for t in lens.tolist())
    return (1 - rank / len(row)) * row.softmax(-1)[lens].max().item()


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_output_score_on_the_last_block_in_closed_form(family: str) -> None:
    model, sae = tiny.tiny_model(family), tiny.dictionary(LAST)
    features = [0, 5, 17, 40]
    scores = feature_scores(model, sae, features, prompts=PROMPTS, top=4)
    for number, feature in enumerate(features):
        each = [by_hand(family, sae, prompt, feature, scores.lens[number]) for prompt in PROMPTS]
        assert scores.output[number].item() == pytest.approx(sum(each) / 2, rel=1e-4)


def test_pushed_without_limit_the_logit_lens_is_what_the_model_says() -> None:
    model, sae = tiny.tiny_model("llama"), tiny.dictionary(LAST)
    scores = feature_scores(model, sae, prompts=PROMPTS, strength=1e6)
    module = tiny.plain_model("llama")
    with torch.no_grad():
        logits = module.get_output_embeddings()(module.model.norm(sae.W_dec)).double()
    assert torch.equal(scores.lens, logits.topk(20).indices)
    assert torch.allclose(scores.output, logits.softmax(-1).amax(-1), atol=1e-4)
    # The other way round those tokens are the last of all.
    assert output_score(-1e3 * logits, scores.lens).max().item() == pytest.approx(0, abs=1e-6)


def test_scores_of_some_features_are_those_of_all() -> None:
    model, sae = tiny.tiny_model("llama"), tiny.dictionary()
    everything = feature_scores(model, sae, prompts=PROMPTS, top=5)
    some = feature_scores(model, sae, [9, 3], prompts=PROMPTS, top=5)
    assert torch.allclose(some.output, everything.output[[9, 3]], atol=1e-6)
    assert torch.equal(some.lens, everything.lens[[9, 3]])
    assert torch.equal(lens_tokens(model, sae, [9, 3], 5), some.lens)
    assert ((everything.output >= 0) & (everything.output <= 1)).all()
    cut = everything.output.median().item()
    kept = everything.at_least(cut)
    assert set(kept) == set((everything.output >= cut).nonzero().flatten().tolist())
    assert kept[0] == everything.output.argmax().item()


def test_input_score_counts_top_contexts_whose_strongest_token_is_in_the_lens() -> None:
    model, sae = tiny.tiny_model("llama"), tiny.dictionary()
    assert sae.statistics is not None
    lens = lens_tokens(model, sae, [7], 3)[0]
    contexts = sae.statistics.contexts.clone()
    contexts[7, :, WINDOW[0]] = torch.tensor([3] * 10)
    other = next(t for t in range(3, tiny.VOCABULARY) if t not in lens)
    contexts[7, :, WINDOW[0]] = other
    contexts[7, :4, WINDOW[0]] = lens[1]
    contexts[7, 8:] = -1
    contexts[8] = -1
    planted = replace(sae, statistics=replace(sae.statistics, contexts=contexts))
    scores = feature_scores(model, planted, [7, 8], prompts=PROMPTS, top=3)
    assert scores.input[0].item() == 4 / 8
    assert scores.input[1].isnan()
    bare = feature_scores(model, replace(sae, statistics=None), [7], prompts=PROMPTS)
    assert bare.input.isnan().all()


def test_refusals() -> None:
    model, sae = tiny.tiny_model("llama"), tiny.dictionary()
    with pytest.raises(DictionaryError, match="out of range"):
        feature_scores(model, sae, [tiny.WIDTH])
    with pytest.raises(SteerError, match="one or more"):
        feature_scores(model, sae, [])
    with pytest.raises(SteerError, match="one or more"):
        feature_scores(model, sae, [1], prompts=())


def test_the_random_filter_is_fair_and_exact_when_it_keeps_all() -> None:
    values = torch.tensor([0.0, 1.0, 2.0, 5.0])
    assert torch.equal(random_filter(values, 4, draws=5), torch.full((5,), 2.0).double())
    ones = random_filter(values, 1, draws=20_000)
    assert set(ones.tolist()) == {0.0, 1.0, 2.0, 5.0}
    assert ones.mean().item() == pytest.approx(2.0, abs=0.06)
    with pytest.raises(SteerError, match="1 to all"):
        random_filter(values, 5)

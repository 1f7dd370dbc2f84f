"""Which features a text activates."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import steer
from tests.support import plain, tiny
from tests.support.tiny import PROMPT, PROMPTS


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_activations_are_those_of_the_site(
    architecture: str, model: steer.Model, untouched: Any
) -> None:
    sae = tiny.dictionary(architecture=architecture)
    read = model.features(PROMPT, sae)
    with plain.recorded(plain.block(untouched, 2), "input") as residual:
        plain.logits(untouched, model.tokenize([PROMPT])[0])
    x = residual[0][0]
    assert read.tokens == tuple(PROMPT.split())
    assert (read.text, read.dictionary) == (PROMPT, "tiny")
    torch.testing.assert_close(read.activations, sae.encode(x)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(read.norms, x.norm(dim=-1))


def test_features_of_a_bf16_model_are_in_fp32() -> None:
    read = tiny.tiny_model("llama", torch.bfloat16).features(PROMPT, tiny.dictionary())
    assert read.activations.dtype == read.norms.dtype == torch.float32


def test_top_of_each_token(llama: steer.Model) -> None:
    read = llama.features(PROMPT, tiny.dictionary())
    assert read.top(3)[0] == []
    for position, top in enumerate(read.top(3, skip_first=False)):
        values = read.activations[position].sort(descending=True).values[:3]
        assert [a.activation for a in top] == values[values > 0].tolist()
        assert all(read.activations[position, a.feature] == a.activation for a in top)
        assert {(a.position, a.token) for a in top} == {(position, read.tokens[position])}
    assert len(read.top(10**6)[1]) == int((read.activations[1] > 0).sum())


def test_the_strongest_may_be_negative(llama: steer.Model) -> None:
    """AbsTopK keeps the largest sizes, of either sign."""
    read = llama.features(PROMPT, tiny.dictionary(architecture="abstopk"))
    sizes, index = read.activations.abs().max(dim=1)
    strongest = [top[0] for top in read.top(1, skip_first=False)]
    assert [one.feature for one in strongest] == index.tolist()
    assert [abs(one.activation) for one in strongest] == sizes.tolist()
    assert any(one.activation < 0 for one in strongest)
    (most,) = read.top_features(1, skip_first=False)
    assert abs(most.activation) == sizes.max()
    assert most.activation == read.activations[most.position, most.feature]


def test_top_features_of_the_text(llama: steer.Model) -> None:
    read = llama.features(PROMPT, tiny.dictionary())
    top = read.top_features(4)
    assert [a.activation for a in top] == read.activations[1:].amax(0).topk(4).values.tolist()
    assert all(read.activations[a.position, a.feature] == a.activation for a in top)
    assert all(a.position > 0 and a.token == read.tokens[a.position] for a in top)
    assert len({a.feature for a in read.top_features(10**6)}) == int(
        (read.activations[1:] > 0).any(0).sum()
    )


def test_a_text_of_one_token(llama: steer.Model) -> None:
    read = llama.features("w9", tiny.dictionary())
    assert read.activations.shape == (1, tiny.WIDTH)
    assert read.top() == [[]]
    assert read.top_features()[0].position == 0


def test_as_a_frame_and_as_plain_data(llama: steer.Model) -> None:
    read = llama.features(PROMPT, tiny.dictionary())
    frame = read.to_frame()
    assert list(frame.columns) == ["position", "token", "feature", "activation"]
    assert len(frame) == int((read.activations != 0).sum())
    data = read.to_list(2)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [row["position"] for row in data] == list(range(6))
    assert all(len(row["features"]) <= 2 for row in data)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_text_read_twice_is_the_same(prompt: str, llama: steer.Model) -> None:
    sae = tiny.dictionary()
    one, other = (llama.features(prompt, sae).activations for _ in range(2))
    assert torch.equal(one, other)


def test_bad_input(llama: steer.Model) -> None:
    with pytest.raises(steer.PromptError, match="at least one token"):
        llama.features("", tiny.dictionary())
    with pytest.raises(steer.PromptError, match=r"65 .*64"):
        llama.features("w5 " * 65, tiny.dictionary())
    with pytest.raises(steer.DictionaryError, match="width 24"):
        llama.features(PROMPT, tiny.dictionary(d=24))
    with pytest.raises(steer.DictionaryError, match="neither a name of the catalogue nor a folder"):
        llama.features(PROMPT, "nowhere/resid_post.1")

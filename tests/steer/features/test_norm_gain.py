"""A transcoder of the norm's output before its gain, against a plain computation of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import steer
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from steer.errors import DictionaryError
from steer.features.norm_gain import after_gain
from tests.support import tiny
from tests.support.plain import path_of, recorded

BEFORE = "blocks.1.ln2.hook_normalized"


def transcoder(skip: bool = False) -> Dictionary:
    given = tiny.dictionary()
    config = DictionaryConfig(tiny.D, tiny.WIDTH, BEFORE, d_out=tiny.D, hookpoint_out="mlp_out.1")
    generator = torch.Generator().manual_seed(1)
    linear = 0.1 * torch.randn(tiny.D, tiny.D, generator=generator) if skip else None
    return replace(given, config=config, W_skip=linear)


def normalised(x: Tensor, family: str) -> Tensor:
    """x / rms(x), or (x - mean) / std: before any gain."""
    if family in ("gpt2", "gpt_neox_sequential"):
        x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(
    "family", ["gemma2", "gemma3", "llama", "qwen3", "gpt2", "gpt_neox_sequential"]
)
def test_it_reads_what_it_was_trained_on(
    family: str, skip: bool, model: steer.Model, untouched: Any
) -> None:
    trained = transcoder(skip)
    found = after_gain(model, trained)
    assert (found.config.hookpoint, found.config.hookpoint_out) == ("mlp_in.1", "mlp_out.1")
    ids, mask = model.tokenize([tiny.PROMPT])
    norm = untouched.get_submodule(path_of(family, "mlp_in.1")[0])
    with recorded(norm, "input") as before, recorded(norm) as after, torch.no_grad():
        untouched(input_ids=ids, attention_mask=mask)
    z, y = normalised(before[-1], family), after[-1]
    expected = trained.encode(z)[0]
    assert (expected > 0).any()
    torch.testing.assert_close(found.encode(y)[0], expected, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(found.reconstruct(y), trained.reconstruct(z), atol=5e-3, rtol=5e-3)
    plainly = model.features(tiny.PROMPT, found).activations
    torch.testing.assert_close(plainly, expected[0], atol=2e-3, rtol=2e-3)


@contextmanager
def clamped(model: Any, sae: Dictionary, feature: int, value: float) -> Iterator[None]:
    """Plain hooks on Gemma 2: read before the gain, write after the MLP's second norm."""
    block, seen = model.get_submodule("model.layers.1"), []

    def read(_: Any, given: tuple[Tensor, ...]) -> None:
        z = normalised(given[0].float(), "gemma2")
        seen.append(sae.encode(z)[0][..., feature])

    def write(_: Any, __: Any, output: Tensor) -> Tensor:
        return output + (value - seen[-1])[..., None] * sae.W_dec[feature]

    hooks = [
        block.pre_feedforward_layernorm.register_forward_pre_hook(read),
        block.post_feedforward_layernorm.register_forward_hook(write),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def test_a_published_file_steers_gemma_2(tmp_path: Path) -> None:
    """Loaded by its folder's name, clamped, against plain hooks."""
    model, untouched = tiny.tiny_model("gemma2"), tiny.plain_model("gemma2")
    trained = transcoder()
    folder = tmp_path / "gemma-scope-2b-pt-transcoders" / "layer_1" / "width_16k" / "average_l0_9"
    folder.mkdir(parents=True)
    arrays: Any = {name: getattr(trained, name).numpy() for name in trained.tensor_names()}
    np.savez(folder / "params.npz", **arrays)
    loaded = model.dictionary(str(folder))
    ids, mask = model.tokenize([tiny.PROMPT])
    feature = int(trained.W_enc.norm(dim=0).argmax())
    with recorded(untouched.model.norm) as hidden, torch.no_grad():
        with clamped(untouched, trained, feature, 6.0):
            untouched(input_ids=ids, attention_mask=mask)
        untouched(input_ids=ids, attention_mask=mask)
    edit = steer.Intervention(loaded.name, [steer.Clamp(feature, 6.0)])
    with recorded(model.module.model.norm) as ours:
        model.generate(
            tiny.PROMPT, edit, max_new_tokens=1, dictionaries=[loaded], if_silent="ignore"
        )
    expected, clean = (each[0] for each in hidden)
    assert (expected - clean).abs().max() > 0.1
    torch.testing.assert_close(ours[0][0], expected, atol=2e-3, rtol=2e-3)


def test_others_are_left_alone(llama: steer.Model) -> None:
    sae = tiny.dictionary()
    assert after_gain(llama, sae) is sae
    unknown = replace(sae, config=replace(sae.config, hookpoint=None))
    assert after_gain(llama, unknown) is unknown


def test_what_does_not_fit(llama: steer.Model) -> None:
    narrow = tiny.dictionary(BEFORE, d=16)
    with pytest.raises(DictionaryError, match=r"width 16.*width 32"):
        after_gain(llama, narrow)
    norm = llama.module.get_submodule(llama.site("mlp_in.1").path)
    kept = norm.weight.detach().clone()
    with torch.no_grad():
        norm.weight[3] = 0
    try:
        with pytest.raises(DictionaryError, match="is 0 in 1 places"):
            after_gain(llama, transcoder())
    finally:
        with torch.no_grad():
            norm.weight[:] = kept

"""A self-check finds the reading that a dictionary was meant in, and refuses other models'."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import steer
from dictionaries import baselines
from dictionaries.architectures import JumpReLU, ReLU
from dictionaries.base import Dictionary, DictionaryConfig
from steer.check import check
from steer.conventions import before_gain
from steer.errors import DictionaryError, PromptError
from tests import tiny

SITE = "resid_post.1"


def texts() -> list[str]:
    """Enough words for a check, as the tiny tokenizer knows them."""
    words = random.Random(3).choices(range(3, tiny.VOCABULARY), k=600)
    return [" ".join(f"w{word}" for word in words)]


def activations(model: steer.Model, hookpoint: str) -> Tensor:
    ids = torch.tensor(model.tokenizer(texts()[0])["input_ids"][:600]).view(-1, 60)
    return model.collect(ids, torch.ones_like(ids), [hookpoint])[hookpoint].flatten(0, 1)


def basis(model: steer.Model, hookpoint: str = SITE) -> ReLU:
    return baselines.pca(activations(model, hookpoint), hookpoint=hookpoint)


def test_an_exact_dictionary_is_loaded_right(llama: steer.Model) -> None:
    found = check(llama, basis(llama), texts())
    assert found.passed
    assert found.best == "as loaded"
    assert found.as_loaded.fvu < 1e-6
    assert found.as_loaded.l0 == pytest.approx(tiny.D)
    assert abs(found.delta_ce) < 1e-3
    assert "loaded right" in str(found)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["passed"]


def spoil_bias(dictionary: Dictionary, sign: float) -> Dictionary:
    shift = dictionary.b_dec @ dictionary.W_enc
    return replace(dictionary, b_enc=dictionary.b_enc + sign * shift)


@pytest.mark.parametrize(
    ("sign", "expected"), [(1, "decoder bias subtracted"), (-1, "decoder bias not subtracted")]
)
def test_a_wrong_decoder_bias_is_found(llama: steer.Model, sign: float, expected: str) -> None:
    spoilt = replace(basis(llama), b_dec=torch.full((tiny.D,), 3.0))
    right = replace(spoilt, b_enc=-(spoilt.b_dec @ spoilt.W_enc))
    found = check(llama, spoil_bias(right, sign), texts())
    assert (found.best, found.passed) == (expected, False)
    assert found.gain > 0.1
    assert expected in found.verdict


def test_a_missing_norm_factor_is_found(llama: steer.Model) -> None:
    x = activations(llama, SITE)
    scale = float(tiny.D**0.5 / x.norm(dim=-1).mean())
    scale = max(scale, 1 / scale)  # so that without it too little passes the threshold
    given = baselines.pca(x * scale, hookpoint=SITE)
    tensors = {name: getattr(given, name) for name in given.tensor_names()}
    threshold = torch.full((given.width,), 1.0)
    unfolded = JumpReLU(**tensors, config=given.config, threshold=threshold)
    assert check(llama, unfolded, texts()).best.startswith("norm factor")


def test_the_other_side_of_the_block_is_found(llama: steer.Model) -> None:
    x = activations(llama, "resid_pre.1")
    low = baselines.pca(x, 20).config.width
    moved = baselines.pca(x, 20, hookpoint=SITE)
    assert moved.width == low
    assert check(llama, moved, texts()).best == "block input, resid_pre.1"


@pytest.mark.parametrize(("said", "meant"), [(0, 1), (1, 0), (0, 2), (2, 0)])
def test_another_block_is_found(said: int, meant: int, llama: steer.Model) -> None:
    low = baselines.pca(activations(llama, f"mlp_out.{meant}"), 8, hookpoint=f"mlp_out.{said}")
    found = check(llama, low, texts())
    assert (found.best, found.passed) == (f"another block, mlp_out.{meant}", False)
    assert f"mlp_out.{meant}” fits better" in found.verdict


@pytest.mark.parametrize(
    "published", [{"fvu": 0.01}, {"l0": 5.0}, {"l0": 500.0}, {"fvu": 0.001, "l0": 20.0}]
)
def test_far_from_what_is_published(published: dict[str, float], llama: steer.Model) -> None:
    x = activations(llama, SITE)
    given = replace(baselines.pca(x, 20, hookpoint=SITE), card=published)
    found = check(llama, given, texts())
    assert found.best == "as loaded"
    assert not found.passed
    assert "worse than published" in found.verdict


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_what_a_norm_multiplies_by_its_gain(model: steer.Model) -> None:
    middle, after = activations(model, "resid_mid.1"), activations(model, "mlp_in.1")
    norm = model.module.get_submodule(model.site("mlp_in.1").path)
    gain = norm.weight + 1 if "Gemma" in type(norm).__name__ else norm.weight
    bias = getattr(norm, "bias", None)
    expected = before_gain(norm, middle) * gain + (0 if bias is None else bias)
    torch.testing.assert_close(expected, after, atol=1e-4, rtol=1e-4)


def transcoder(model: steer.Model, read: Tensor, out: str) -> ReLU:
    """Reads `read` exactly and writes the least-squares map to the output site."""
    given, y = baselines.pca(read), activations(model, out)
    mean = y.mean(0)
    solved = torch.linalg.lstsq(given.encode(read)[0].double(), (y - mean).double()).solution
    config = DictionaryConfig(tiny.D, given.width, "mlp_in.1", d_out=tiny.D, hookpoint_out=out)
    return replace(given, W_dec=solved.float(), b_dec=mean, config=config, name="coder")


def test_a_transcoder_that_reads_before_the_gain_is_found(llama: steer.Model) -> None:
    norm = llama.module.get_submodule(llama.site("mlp_in.1").path)
    with torch.no_grad():
        norm.weight[:] = torch.linspace(0.2, 3, tiny.D)
    try:
        right = transcoder(llama, activations(llama, "mlp_in.1"), "mlp_out.1")
        plain = before_gain(norm, activations(llama, "resid_mid.1"))
        wrong = transcoder(llama, plain, "mlp_out.1")
        found = check(llama, right, texts())
        assert found.best == "as loaded"
        assert found.delta_ce < 5
        assert check(llama, wrong, texts()).best == "before the norm's gain"
    finally:
        tiny.tiny_model.cache_clear()


def test_published_figures_stand_beside(llama: steer.Model) -> None:
    given = replace(basis(llama), card={"l0": 32.0, "fvu": 0.5, "fingerprint": llama.fingerprint})
    found = check(llama, given, texts())
    assert found.published == {"l0": 32.0, "fvu": 0.5}
    assert "published 32.000" in str(found)


def test_other_models_are_refused(llama: steer.Model) -> None:
    with pytest.raises(DictionaryError, match=r"fingerprint abc.*load the model"):
        check(llama, replace(basis(llama), card={"fingerprint": "abc"}), texts())
    with pytest.raises(DictionaryError, match=r"width 16.*width 32"):
        check(llama, tiny.dictionary(d=16), texts())
    wide = DictionaryConfig(tiny.D, 64, "mlp_in.1", d_out=tiny.D, hookpoint_out="mlp_hidden.1")
    with pytest.raises(DictionaryError, match=r"writes a site of width 32.*width 40"):
        check(llama, replace(basis(llama), config=wide), texts())


def test_a_random_dictionary_fits_nothing(llama: steer.Model) -> None:
    given = tiny.dictionary(SITE, "standard")
    found = check(llama, replace(given, b_dec=given.b_dec * 100), texts())
    assert not found.passed


def test_another_site_of_the_block_is_found(llama: steer.Model) -> None:
    meant = baselines.pca(activations(llama, "mlp_out.1"), 4, hookpoint="attn_out.1")
    found = check(llama, meant, texts())
    assert found.best == "another site, mlp_out.1"
    assert not found.passed


def test_nothing_that_fits_is_not_what_was_meant(llama: steer.Model) -> None:
    """A reading better than the one as loaded, but no better than the mean, is no advice."""
    generator = torch.Generator().manual_seed(0)
    noise = baselines.random_directions(tiny.D, 4 * tiny.D, seed=1, hookpoint=SITE)
    loud = replace(noise, W_dec=100 * torch.randn(noise.W_dec.shape, generator=generator))
    found = check(llama, loud, texts())
    assert min(each.fvu for each in found.readings.values()) > 1
    assert found.best == "as loaded"
    assert "fits no reading" in found.verdict


def test_too_little_text(llama: steer.Model) -> None:
    with pytest.raises(PromptError, match="3 tokens; at least 32 are needed"):
        check(llama, basis(llama), ["w3 w4 w5"])

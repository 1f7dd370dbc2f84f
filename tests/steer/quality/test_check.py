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
from dictionaries.architectures import BatchTopK, JumpReLU, ReLU
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from steer.errors import DictionaryError, PromptError
from steer.lm.norm import Norm
from steer.quality.check import check
from tests.support import tiny

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
    checked = check(llama, basis(llama), texts())
    assert checked.passed
    assert checked.best == "as loaded"
    assert checked.as_loaded.fvu < 1e-6
    assert checked.as_loaded.l0 == pytest.approx(tiny.D)
    assert abs(checked.delta_ce) < 1e-3
    assert "loaded right" in str(checked)
    assert json.loads(json.dumps(checked.to_dict(), allow_nan=False))["passed"]


def spoil_bias(dictionary: Dictionary, sign: float) -> Dictionary:
    shift = dictionary.b_dec @ dictionary.W_enc
    return replace(dictionary, b_enc=dictionary.b_enc + sign * shift)


@pytest.mark.parametrize(
    ("sign", "expected"), [(1, "decoder bias subtracted"), (-1, "decoder bias not subtracted")]
)
def test_a_wrong_decoder_bias_is_found(llama: steer.Model, sign: float, expected: str) -> None:
    spoilt = replace(basis(llama), b_dec=torch.full((tiny.D,), 3.0))
    right = replace(spoilt, b_enc=-(spoilt.b_dec @ spoilt.W_enc))
    checked = check(llama, spoil_bias(right, sign), texts())
    assert (checked.best, checked.passed) == (expected, False)
    assert checked.gain > 0.1
    assert expected in checked.verdict


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
    checked = check(llama, low, texts())
    assert (checked.best, checked.passed) == (f"another block, mlp_out.{meant}", False)
    assert f"mlp_out.{meant}” fits better" in checked.verdict


@pytest.mark.parametrize(
    "published", [{"fvu": 0.01}, {"l0": 5.0}, {"l0": 500.0}, {"fvu": 0.001, "l0": 20.0}]
)
def test_far_from_what_is_published(published: dict[str, float], llama: steer.Model) -> None:
    x = activations(llama, SITE)
    given = replace(baselines.pca(x, 20, hookpoint=SITE), card=published)
    checked = check(llama, given, texts())
    assert checked.best == "as loaded"
    assert not checked.passed
    assert "worse than published" in checked.verdict


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_what_a_norm_multiplies_by_its_gain(model: steer.Model) -> None:
    middle, after = activations(model, "resid_mid.1"), activations(model, "mlp_in.1")
    norm = model.module.get_submodule(model.site("mlp_in.1").path)
    gain = norm.weight + 1 if "Gemma" in type(norm).__name__ else norm.weight
    bias = getattr(norm, "bias", None)
    expected = Norm.of(norm, model.d).before_gain(middle) * gain + (0 if bias is None else bias)
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
        plain = Norm.of(norm, llama.d).before_gain(activations(llama, "resid_mid.1"))
        wrong = transcoder(llama, plain, "mlp_out.1")
        checked = check(llama, right, texts())
        assert checked.best == "as loaded"
        assert checked.delta_ce < 5
        assert check(llama, wrong, texts()).best == "before the norm's gain"
    finally:
        tiny.tiny_model.cache_clear()


def test_published_figures_stand_beside(llama: steer.Model) -> None:
    given = replace(basis(llama), card={"l0": 32.0, "fvu": 0.5, "fingerprint": llama.fingerprint})
    checked = check(llama, given, texts())
    assert checked.published == {"l0": 32.0, "fvu": 0.5}
    assert "published 32.000" in str(checked)


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
    checked = check(llama, replace(given, b_dec=given.b_dec * 100), texts())
    assert not checked.passed


def test_another_site_of_the_block_is_found(llama: steer.Model) -> None:
    meant = baselines.pca(activations(llama, "mlp_out.1"), 4, hookpoint="attn_out.1")
    checked = check(llama, meant, texts())
    assert checked.best == "another site, mlp_out.1"
    assert not checked.passed


def test_nothing_that_fits_is_not_what_was_meant(llama: steer.Model) -> None:
    """A reading better than the one as loaded, but no better than the mean, is no advice."""
    generator = torch.Generator().manual_seed(0)
    noise = baselines.random_directions(tiny.D, 4 * tiny.D, seed=1, hookpoint=SITE)
    loud = replace(noise, W_dec=100 * torch.randn(noise.W_dec.shape, generator=generator))
    checked = check(llama, loud, texts())
    assert min(reading.fvu for reading in checked.readings.values()) > 1
    assert checked.best == "as loaded"
    assert "fits no reading" in checked.verdict


def sparse(model: steer.Model) -> JumpReLU:
    """The strong parts of a basis, and many random features that their thresholds keep silent."""
    good, extra = basis(model), baselines.random_directions(tiny.D, 8 * tiny.D, seed=2)
    x = activations(model, SITE)
    active = (x @ good.W_enc + good.b_enc).relu()
    threshold = [
        torch.full((good.width,), active[active > 0].quantile(0.6).item()),
        1.5 * (x @ extra.W_enc).amax(0).clamp(min=0.1),
    ]
    return JumpReLU(
        W_enc=torch.cat([good.W_enc, extra.W_enc], dim=1),
        b_enc=torch.cat([good.b_enc, extra.b_enc]),
        W_dec=torch.cat([good.W_dec, extra.W_dec]),
        b_dec=good.b_dec,
        config=DictionaryConfig(tiny.D, good.width + extra.width, SITE),
        threshold=torch.cat(threshold),
    )


@pytest.mark.parametrize("power", [1, -1])
def test_a_norm_factor_wrong_by_the_root_of_d_is_found(llama: steer.Model, power: int) -> None:
    right, root = sparse(llama), tiny.D ** (0.5 * power)
    wrong = replace(
        right, W_enc=right.W_enc * root, W_dec=right.W_dec / root, b_dec=right.b_dec / root
    )
    checked = check(llama, wrong, texts())
    assert checked.best == f"norm factor {1 / root:.3g} on the input"
    assert checked.readings[checked.best].fvu == pytest.approx(
        check(llama, right, texts()).as_loaded.fvu, rel=1e-3
    )


def test_a_wrong_decoder_is_told_from_another_site(llama: steer.Model) -> None:
    right = sparse(llama)
    l0 = check(llama, right, texts()).as_loaded.l0
    order = torch.randperm(right.width, generator=torch.Generator().manual_seed(1))
    shuffled = replace(right, W_dec=3 * right.W_dec[order], card={"l0": l0, "fvu": 0.3})
    checked = check(llama, shuffled, texts())
    assert not checked.passed
    assert "it is the decoder that is wrong" in checked.verdict
    elsewhere = replace(shuffled, card={"l0": 9 * l0, "fvu": 0.3})
    assert "another site or model" in check(llama, elsewhere, texts()).verdict


def test_a_reading_that_fits_better_may_still_be_wrong(llama: steer.Model) -> None:
    """Thresholds ten times too high: a larger input passes some, and is not what was meant."""
    right = sparse(llama)
    l0 = check(llama, right, texts()).as_loaded
    wrong = replace(right, threshold=right.threshold * 10, card={"l0": l0.l0, "fvu": l0.fvu})
    checked = check(llama, wrong, texts())
    assert not checked.passed
    if checked.best != "as loaded":
        assert "not as published either" in checked.verdict


def test_a_complete_basis_says_little(llama: steer.Model) -> None:
    checked = check(llama, basis(llama), texts())
    assert checked.passed
    assert "so that this says little" in checked.verdict
    assert "says little" not in check(llama, sparse(llama), texts()).verdict


def test_a_k_in_the_file_is_what_it_states(llama: steer.Model) -> None:
    basis_ = basis(llama)
    tensors = {name: getattr(basis_, name) for name in basis_.tensor_names()}
    silent = torch.full((basis_.width,), 1e6)
    given = BatchTopK(**tensors, config=basis_.config, threshold=silent, k=8)
    checked = check(llama, given, texts())
    assert checked.published == {"l0": 8.0}
    assert not checked.passed


def test_too_little_text(llama: steer.Model) -> None:
    with pytest.raises(PromptError, match="3 tokens; at least 32 are needed"):
        check(llama, basis(llama), ["w3 w4 w5"])
